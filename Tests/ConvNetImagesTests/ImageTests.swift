import ConvNetImages
import Testing

@Suite struct ImageTests {}
