import ConvNetTraining
import FoundationEssentials
import Testing

@Suite struct EvaluationTests {
  @Test func batchesAddUp() {
    var evaluation = Evaluation(classCount: 3)
    #expect(evaluation.accuracy == 0)
    let logits: [Float] = [1, 2, 0, 5, 5, 1, .nan, 0, 1]
    logits.withUnsafeBufferPointer {
      evaluation.add(loss: 4, logits: $0, labels: [1, 1, 2])
      evaluation.add(loss: 1, logits: .init(rebasing: $0[..<3]), labels: [0])
    }
    #expect(evaluation.count == 4 && evaluation.loss == 3.25)
    #expect(evaluation.confusion == [[0, 1, 0], [1, 1, 0], [0, 0, 1]])
    #expect(evaluation.accuracy == 0.5 && evaluation.recalls == [0, 0.5, 1])
  }

  /// Of equal logits the first count, NaN never does, and few classes have no top five.
  @Test func topFiveCountsTheFirstLargest() throws {
    let rows: [([Float], Int64, Bool)] = [
      ([6, 5, 4, 3, 2, 1, 0], 4, true), ([6, 5, 4, 3, 2, 1, 0], 5, false),
      ([0, 0, 0, 0, 0, 0, 0], 4, true), ([0, 0, 0, 0, 0, 0, 0], 5, false),
      ([.nan, .nan, .nan, 1, 1, 1, 1], 6, true), ([.nan, 0, 0, 0, 0, 0, 0], 0, false),
      ([.infinity, 1, 2, 3, 4, 5, 6], 0, true), ([.infinity, 1, 2, 3, 4, 5, 6], 2, false),
    ]
    for (row, label, isHit) in rows {
      var evaluation = Evaluation(classCount: 7)
      row.withUnsafeBufferPointer { evaluation.add(loss: 0, logits: $0, labels: [label]) }
      #expect(evaluation.topFiveCount == (isHit ? 1 : 0), "\(row), \(label)")
    }
    var evaluation = Evaluation(classCount: 7)
    rows.flatMap(\.0).withUnsafeBufferPointer {
      evaluation.add(loss: 0, logits: $0, labels: rows.map(\.1))
    }
    #expect(evaluation.topFiveAccuracy == 0.5)
    #expect(Evaluation(classCount: 7).topFiveAccuracy == 0)
    #expect(Evaluation(classCount: 5).topFiveAccuracy == nil)
    // What was written before there was a top five.
    let old = Data(#"{"count":1,"loss":2,"confusion":[[1]]}"#.utf8)
    let decoded = try JSONDecoder().decode(Evaluation.self, from: old)
    #expect(decoded.count == 1 && decoded.topFiveCount == nil)
    #expect(
      try JSONDecoder().decode(Evaluation.self, from: JSONEncoder().encode(evaluation))
        == evaluation)
  }

  @Test func linesSayEverything() {
    var progress = TrainingProgress(
      epoch: 2, epochs: 5, step: 30, stepsPerEpoch: 60, loss: 0.25, accuracy: 0.915,
      learningRate: 0.1, imagesPerSecond: 12_345.6, secondsLeft: 75, rejectedUpdates: 0)
    let bar = ProgressBar.line(progress, hasBar: true)
    #expect(
      bar == "epoch 2/5 ██████████·········· loss 0.2500 acc 91.50 % | 12346 images/s, 1:15 left")
    let narrow = ProgressBar.line(progress, hasBar: true, columns: 73)
    #expect(narrow == "epoch 2/5 █████····· loss 0.2500 acc 91.50 % | 12346 images/s, 1:15 left")
    #expect(ProgressBar.line(progress, hasBar: true, columns: 20) == "epoch 2/5 loss 0.25")
    #expect(ProgressBar.line(progress, hasBar: true, columns: 0).isEmpty)
    progress.step = 60
    progress.rejectedUpdates = 1
    progress.validation = Evaluation(classCount: 2)
    let line = ProgressBar.line(progress, title: "with ", hasBar: false)
    #expect(line.hasPrefix("with epoch 2/5 loss 0.2500 acc 91.50 % | val loss 0.0000 acc 0.00 % |"))
    #expect(line.hasSuffix("1 statistics rejected"))
    #expect(ProgressBar.time(3_723.2) == "1:02:04" && ProgressBar.time(.infinity) == "?")
    #expect(ProgressBar.decimal(-0.004, 2) == "0.00" && ProgressBar.decimal(-1.005, 1) == "-1.0")
    #expect(ProgressBar.decimal(.nan, 2) == "nan")
  }
}
