import IR
import Importer
import Program
import Support

/// A file of any stage: an ONNX model or a `.qir` graph, or a packed program.
enum LoadedModel {
  case graph(Graph)
  case program(Program)

  /// Recognizes the file by its contents; `-` is a graph on standard input.
  init(path: String, check: OnnxCheck = .auto, shapes: [InputShape] = []) throws(CompilerError) {
    if path == "-" {
      self = .graph(try Graph.load("-"))
      return
    }
    let file = try MappedFile(path: path)
    let start = file.bytes.prefix(4)
    if Array(start) == FileFormat.magic || path.hasSuffix(".qpk") {
      self = .program(try LoadedModel.program(file))
    } else if path.hasSuffix(".qir") || Array(start) == Array("qir ".utf8) {
      self = .graph(try Graph.load(path))
    } else {
      var options = ImportOptions()
      options.check = check
      for given in shapes { options.inputShapes[given.name] = given.shape }
      let imported = try importModel(path: path, options: options)
      imported.warnings.forEach(Console.report)
      var graph = imported.graph
      graph.setMetadata(
        "source-hash", String(TensorStorage(file: file, range: 0..<file.bytes.count).hash, radix: 16))
      self = .graph(graph)
    }
  }

  static func program(_ file: MappedFile) throws(CompilerError) -> Program {
    do { return try Program(reading: file.bytes, keepAlive: { _ = file }) } catch {
      throw CompilerError.malformed(
        "\(error)", at: file.path, notes: ["compile the model again, or check that the file was copied whole"]
      )
    }
  }

  /// The graph, or an error that says what `command` takes.
  func graph(for command: String, at path: String) throws(CompilerError) -> Graph {
    guard case .graph(let graph) = self else {
      throw CompilerError(
        "qcc \(command) takes an ONNX model or a .qir graph, not a packed program", at: path)
    }
    return graph
  }
}
