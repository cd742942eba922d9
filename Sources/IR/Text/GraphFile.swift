import Support

extension Graph {
  /// Texts up to this size are read; large weights lie beside them.
  package static let maximumTextSize = 1 << 31

  /// Reads a `.qir` file with the weights beside it, or standard input for `-`.
  package static func load(_ path: String) throws(CompilerError) -> Graph {
    guard path != "-" else {
      let reason =
        "standard input has no file beside it; write the graph to '-' so that its weights travel in the text"
      let text = try readStandardInput(limit: maximumTextSize)
      return try Graph(text: text, file: "<stdin>", weights: .unavailable(reason))
    }
    let file = try MappedFile(path: path)
    guard file.bytes.count <= maximumTextSize else {
      throw .malformed("the text is larger than 2 GiB", at: path)
    }
    return try Graph(text: file.contents, file: path, weights: .file(weightsPath(path)))
  }

  /// Writes a `.qir` file and, when there are large constants, the weights beside it, each whole or not at all. For
  /// `-`: to standard output with the weights in the text; likewise into a device or a pipe.
  package func save(_ path: String) throws(CompilerError) {
    guard path != "-" else { return try writeStandardOutput(text(.embedded)) }
    guard !isSpecialFile(path) else { return try writeFile(path, text(.embedded)) }
    let constants = outOfLineConstants
    if !constants.isEmpty { try SafetensorsFile.write(constants, to: Graph.weightsPath(path)) }
    try writeFile(path, text(.hashed))
  }

  /// `model.safetensors` for `model.qir`.
  package static func weightsPath(_ path: String) -> String {
    (path.hasSuffix(".qir") ? String(path.dropLast(4)) : path) + ".safetensors"
  }
}
