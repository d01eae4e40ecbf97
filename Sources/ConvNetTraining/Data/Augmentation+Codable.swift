// Stands in until `Augmentation` is codable by itself.
extension Augmentation: Codable {}
