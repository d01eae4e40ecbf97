import ArgumentParser
import Glibc

/// The command line: a thin face of the library.
///
/// Results go to standard output, progress and remarks to standard error; a mistake is one sentence
/// there and a status other than 0.
@main
struct ConvNetCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convnet",
    abstract: "Trains and runs batch-normalised convolutional networks on the CPU.",
    subcommands: [
      DoctorCommand.self, TrainCommand.self, EvaluateCommand.self, RunCommand.self,
      PredictCommand.self, InspectCommand.self, ConvertCommand.self, RecalibrateCommand.self,
      BenchCommand.self, CompareCurvesCommand.self, ExperimentCommand.self,
    ])

  static func main() {
    // A file that grows too large for its limit is an error of `write`, not the end of the program.
    signal(SIGXFSZ, SIG_IGN)
    do {
      var command = try parseAsRoot(
        TrainingConfiguration.completing(Array(CommandLine.arguments.dropFirst())))
      try command.run()
    } catch {
      let status = exitCode(for: error)
      // Help and version are errors to the parser, and belong on standard output.
      if status == .success { exit(withError: error) }
      let message = message(for: error)
      if !message.isEmpty { Output.remark(message) }
      exit(withError: status)
    }
  }
}

/// A mistake in what the command line asks for.
struct ToolError: Error, CustomStringConvertible {
  /// What is wrong, as a sentence.
  let description: String

  init(_ description: String) { self.description = description }
}
