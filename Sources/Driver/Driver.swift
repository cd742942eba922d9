import ArgumentParser
import Glibc
import Support

/// The command line of qcc: parses, runs one command, prints what went wrong and exits with a documented code.
package enum Driver {
  package static func main() {
    let status = run(Array(CommandLine.arguments.dropFirst()))
    Ranks.finish(status)
    exit(status)
  }

  /// Runs one command line and returns its exit code.
  package static func run(_ arguments: [String]) -> Int32 {
    do {
      var command = try RootCommand.parseAsRoot(arguments)
      // Help is a command too.
      let isOurs = RootCommand.configuration.subcommands.contains { $0 == type(of: command) }
      guard !Ranks.isDistributed || !isOurs || command is any DistributedCommand else {
        throw CompilerError("under mpirun only 'qcc train' and 'qcc search' run", status: .usage)
      }
      try command.run()
      return ExitStatus.success.rawValue
    } catch let error as CompilerError {
      guard Ranks.shouldReport() else { return error.status.rawValue }
      Console.finishProgress()
      error.diagnostics.forEach(Console.report)
      return error.status.rawValue
    } catch let code as ExitCode {
      return code.rawValue
    } catch {
      Console.finishProgress()
      let text = RootCommand.fullMessage(for: error)
      let code = RootCommand.exitCode(for: error)
      guard Ranks.isFirst else {
        if code != .success { Ranks.waitForTheFirst() }
        return code.rawValue
      }
      if code == .success { print(text) } else { Console.write(text + "\n") }
      return code == .success
        ? 0 : code == .validationFailure ? ExitStatus.usage.rawValue : ExitStatus.internalError.rawValue
    }
  }

  package static let version = "0.1.0"
}

/// What several ranks can do together.
protocol DistributedCommand: ParsableCommand {}

struct RootCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "qcc",
    abstract: "A quantizing compiler: float ONNX models to packed integer programs.",
    discussion: """
      qcc model.onnx --target arm-int4 --data calibration/ --preprocess p.yaml -o model.qpk
      qcc eval model.qpk --data test/ --against model.onnx
      qcc opt --pass-pipeline='fold-constants,canonicalize' model.onnx -o - | qcc inspect -

      'qcc MODEL --target T' is short for 'qcc compile'. Results and artefacts go to standard output or to -o, messages
      and progress to standard error. Exit codes: 0 success, 1 rejected, 2 gate failed, 3 infeasible, 64 usage, 65 malformed input,
      66 missing input, 69 unavailable, 70 defect of qcc, 73 cannot create, 74 input or output failed.
      """,
    version: Driver.version,
    subcommands: [
      CompileCommand.self, SearchCommand.self, TrainCommand.self, EvalCommand.self, RunCommand.self,
      VerifyCommand.self,
      CompareCommand.self, BisectCommand.self, InspectCommand.self,
      OptCommand.self,
      BenchCommand.self, KernelsCommand.self, PassesCommand.self, TargetsCommand.self, OpsCommand.self,
    ],
    defaultSubcommand: CompileCommand.self)
}
