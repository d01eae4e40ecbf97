import ConvNetGraph
import ConvNetImages
import ConvNetTraining
import Testing

@Suite struct RandomResizedCropTests {
  @Test func boxesAreWhatWasAskedFor() {
    let crop = RandomResizedCrop()
    let random = Philox(seed: 11, stream: 3)
    let (height, width) = (375, 500)
    var (area, mirrored) = (0.0, 0)
    var centres = SIMD2<Double>()
    let count = 4000
    for sample in 0..<count {
      let view = crop.view(height: height, width: width, sample: sample, random: random)
      let box = view.box
      #expect(view == crop.view(height: height, width: width, sample: sample, random: random))
      #expect(box.top >= 0 && box.top + box.height <= 375, "\(sample): \(box)")
      #expect(box.left >= 0 && box.left + box.width <= 500, "\(sample): \(box)")
      #expect(box.top == box.top.rounded() && box.width == box.width.rounded())
      // Whole pixels move the ratio a little.
      let ratio = box.width / box.height
      #expect(ratio > 0.73 && ratio < 1.36, "\(sample): \(box)")
      area += box.height * box.width / Double(height * width)
      mirrored += view.isMirrored ? 1 : 0
      centres += SIMD2(box.top + box.height / 2, box.left + box.width / 2)
    }
    // A box of ratio r fits where its area is at most ¾r of the image's, that is h ≤ 375. Over u = ln r
    // ¾r has the mean 7/16 / ln(16/9) = 0.760, its square 0.594: (0.594 − 0.08²) / 2(0.760 − 0.08).
    #expect(abs(area / Double(count) - 0.432) < 0.02)
    // A binomial number within five standard deviations of √4000/2.
    #expect(abs(mirrored - count / 2) < 160)
    #expect(abs(centres.x / Double(count) - 187.5) < 5 && abs(centres.y / Double(count) - 250) < 5)
  }

  @Test func whereNoneFitsItIsTheMiddle() {
    let random = Philox(seed: 1, stream: 1)
    let crop = RandomResizedCrop(areas: 0.9...1, isMirrored: false)
    for sample in 0..<20 {
      let flat = crop.view(height: 10, width: 1000, sample: sample, random: random)
      #expect(flat == ImageView(ImageBox(top: 0, left: 493, height: 10, width: 13)))
      let tall = crop.view(height: 1000, width: 12, sample: sample, random: random)
      #expect(tall == ImageView(ImageBox(top: 492, left: 0, height: 16, width: 12)))
      let tiny = crop.view(height: 1, width: 1, sample: sample, random: random)
      #expect(tiny == .whole(height: 1, width: 1))
    }
  }

  @Test func numbersAreChecked() throws {
    try RandomResizedCrop().check()
    for crop in [
      RandomResizedCrop(areas: 0...1), RandomResizedCrop(areas: 0.5...2),
      RandomResizedCrop(ratios: -1...1), RandomResizedCrop(ratios: 1 ... .infinity),
    ] {
      #expect(throws: TrainingError.self) { try crop.check() }
    }
  }
}
