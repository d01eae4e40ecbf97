import Foundation
import Testing

/// The README's example is what is compiled here, and it works.
@Suite struct ReadmeTests {
  @Test func exampleIsTheOneThatIsCompiled() throws {
    let here = URL(filePath: #filePath).deletingLastPathComponent()
    let source = try String(
      contentsOf: here.appending(path: "READMEExample.swift"), encoding: .utf8)
    let readme = try String(
      contentsOf: here.appending(path: "../../README.md"), encoding: .utf8)
    let lines = source.split(separator: "\n", omittingEmptySubsequences: false)
    let begin = try #require(lines.firstIndex(of: "  // README begins"))
    let end = try #require(lines.firstIndex(of: "  // README ends"))
    let compiled = lines[(begin + 1)..<end].map { $0.dropFirst(2) }.joined(separator: "\n")
    let start = try #require(readme.range(of: "```swift\n"))
    let stop = try #require(readme[start.upperBound...].range(of: "\n```"))
    #expect(String(readme[start.upperBound..<stop.lowerBound]) == compiled)
  }

  @Test func exampleRuns() throws {
    let train = try Stripes.data(count: 128, size: 28, classes: 10)
    let test = try Stripes.data(count: 30, size: 28, classes: 10)
    let accuracy = try readmeExample(train, test)
    #expect((0...1).contains(accuracy))
  }
}
