import ConvNet
import Foundation
import Testing

/// The documentation's examples are those that are compiled, and its worked numbers are right.
@Suite struct DocumentationTests {
  @Test func everyExampleIsCompiled() throws {
    let here = URL(filePath: #filePath).deletingLastPathComponent()
    let compiled = try String(
      contentsOf: here.appending(path: "DocumentationExamples.swift"), encoding: .utf8)
    let folder = here.appending(path: "../../Sources/ConvNet/ConvNet.docc")
    let articles = try FileManager.default.contentsOfDirectory(atPath: folder.path)
      .filter { $0.hasSuffix(".md") }
    #expect(articles.count >= 10)
    for article in articles {
      let text = try String(contentsOf: folder.appending(path: article), encoding: .utf8)
      for block in text.components(separatedBy: "```swift\n").dropFirst() {
        let example = block.components(separatedBy: "\n```")[0]
        let indented = example.split(separator: "\n", omittingEmptySubsequences: false)
          .map { $0.isEmpty ? "" : "  \($0)" }.joined(separator: "\n")
        #expect(compiled.contains(indented), "\(article) shows what is not compiled:\n\(example)")
      }
    }
  }

  @Test func workedNumbersAreRight() throws {
    let (norm, x, gamma, y, batch, running) = try workedNumbers()
    func rounded(_ tensor: Tensor) -> [Double] {
      tensor.floats.map { (Double($0) * 1e4).rounded() / 1e4 }
    }
    #expect(batch.count == 4 && batch.mean.doubles == [3] && batch.m2.doubles == [14])
    #expect(batch.variance(.population).doubles == [3.5])
    #expect(rounded(y) == [-1.1381, -0.069, 1, 4.2071])
    #expect(try rounded(#require(running).mean) == [0.3])
    #expect(try rounded(#require(running).variance) == [1.3667])
    let dy = Tensor([1, 0, 0, 0] as [Float], shape: [4, 1])
    let dx = try norm.backward(dy, x: x, scale: gamma, statistics: batch).dx
    #expect(rounded(dx) == [0.4963, -0.42, -0.2673, 0.1909])
  }

  @Test func examplesRun() throws {
    let (graph, anySize, named) = try describing()
    #expect(anySize.rank == 4)
    #expect(named.parameterViews.contains { $0.name == "stem.first.weight" })
    let scales = try sequences().parameters["lstm1.hidden_norm.weight"]
    #expect(scales?.elements(of: Float.self) == [Float](repeating: 0.1, count: 96))
    let model = try Model(initializing: graph, seed: 1)
    let (frozen, _) = try switches(model)
    #expect(frozen.graph.batchNormalizationViews[0].isFrozen)
    let (expected, found) = try comparison(model, Tensor(zeros: [1, 32, 32, 3]))
    #expect(expected.keys == found.keys)
    let x = Tensor([1, 3] as [Float], shape: [2, 1])
    let (one, zero) = (Tensor([1] as [Float]), Tensor([0] as [Float]))
    let outputs = try sampleLayer(x, gamma: one, beta: zero, moving: .init(channels: 1))
    #expect(outputs.allSatisfy { $0.floats[1] > $0.floats[0] })
  }
}
