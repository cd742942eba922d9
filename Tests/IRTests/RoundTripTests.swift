import Glibc
import IR
import Support
import Testing

@Suite struct RoundTripTests {
  /// `print(parse(print(g))) == print(g)`, with the weights in the text.
  @Test(arguments: UInt64(0)..<60)
  func printingWhatWasParsedFromAPrintPrintsTheSame(seed: UInt64) throws {
    let text = RandomGraph.make(seed: seed).text(.embedded)
    #expect(try Graph(text: text).text(.embedded) == text)
  }

  @Test func theRandomGraphsHoldEveryOperation() {
    var seen: Set<String> = []
    for seed in UInt64(0)..<60 {
      let graph = RandomGraph.make(seed: seed)
      for op in graph.order { seen.insert(graph[op].op.mnemonic) }
    }
    let missing = Op.families.flatMap(\.mnemonics).filter { !seen.contains($0) }
    #expect(missing.isEmpty)
  }

  @Test(arguments: UInt64(0)..<10)
  func aGraphInFilesReadsBackWithItsWeights(seed: UInt64) throws {
    let path = temporaryPath("graph-\(seed).qir")
    let graph = RandomGraph.make(seed: seed)
    try graph.save(path)
    let loaded = try Graph.load(path)
    #expect(loaded.text(.embedded) == graph.text(.embedded))
    let constants = loaded.outOfLineConstants
    #expect(
      constants.allSatisfy {
        Int(bitPattern: $0.storage.bytes.baseAddress) % $0.type.element.sizeInBytes == 0
      })
  }

  @Test func aPipeIsWrittenIntoAndStaysAPipe() throws {
    let path = temporaryPath("pipe.qir")
    mkfifo(path, 0o600)
    let descriptor = open(path, O_RDWR | O_NONBLOCK)
    defer { close(descriptor) }
    var graph = Graph()
    graph.addOutput(graph.addConstant(Constant("w", [20], [Float](repeating: 1, count: 20))))
    try graph.save(path)
    #expect(isSpecialFile(path))
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = read(descriptor, &bytes, bytes.count)
    #expect(String(decoding: bytes[..<max(count, 0)], as: UTF8.self) == graph.text(.embedded))
    #expect(access(Graph.weightsPath(path), F_OK) != 0)
  }

  @Test func typesAndFactsAreInferredAgain() throws {
    let text = """
      qir 1
      graph @g stage imported (%x: tensor<Nx4xf32>) {
        %s = shape(%x) : tensor<2xi64>  // attributes keep their defaults
        %y = reshape(%x, %s) : tensor<Nx4xf32> loc "again"
        return %y
      }
      """
    let graph = try Graph(text: text)
    #expect(graph[graph[graph.order[0]].results[0]].fact == [.batch, .known(4)])
    #expect(graph[graph.order[1]].name == "again")
  }

  @Test func seededConstantsPrintBareUntilTheyChange() throws {
    let text = """
      qir 1
      graph @g stage imported (%x: tensor<Nx32xf32>) {
        %w = constant @w : tensor<32x2xf32>
        %y = matmul(%x, %w) : tensor<Nx2xf32>
        return %y
      }

      """
    var graph = try Graph(text: text, weights: .seeded)
    #expect(graph.text(.seeded) == text)
    #expect(graph.text(.elided).contains("@w : tensor<32x2xf32>  // 64 elements in "))
    graph.rename(graph.usedConstants[0], "v")
    #expect(graph.text(.seeded).contains("%v = constant @v xxh3 \""))
  }
}

/// A file of this test run.
func temporaryPath(_ name: String) -> String {
  let folder = "\(String(cString: getenv("TMPDIR") ?? strdup("/tmp")))/qcc-ir-tests-\(getpid())"
  mkdir(folder, 0o777)
  return "\(folder)/\(name)"
}
