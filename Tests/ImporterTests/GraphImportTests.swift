import IR
import Support
import Testing

@testable import Importer

@Suite("Graphs as exporters write them")
struct GraphImportTests {
  private func graph(opset: Int = 13, _ build: (inout Proto) -> Void) throws(CompilerError) -> Graph {
    try importBytes(Proto.model(opset: opset, Proto(build))).graph
  }
  private func mnemonics(_ graph: Graph) -> [String] { graph.order.map { graph[$0].op.mnemonic } }

  @Test func nodesInAnyOrder() throws {
    let graph = try graph {
      $0.node("Add", ["a", "b"], ["y"])
      $0.node("Sigmoid", ["a"], ["b"])
      $0.node("Relu", ["x"], ["a"])
      $0.value(11, "x", [nil, 4])
      $0.value(12, "y", [nil, 4])
    }
    #expect(mnemonics(graph) == ["relu", "sigmoid", "add"])
  }

  @Test func cyclesAreReported() {
    let error = importError(
      Proto.model(
        Proto {
          $0.node("Relu", ["b"], ["a"])
          $0.node("Sigmoid", ["a"], ["b"])
          $0.value(11, "x", [nil, 4])
          $0.value(12, "b", [nil, 4])
        }))
    #expect(error?.description.contains("reads 'b', which no earlier node makes") == true)
  }

  @Test func unreadResultsAreDropped() throws {
    let graph = try graph {
      $0.value(11, "x", [nil, 4])
      $0.node("Dropout", ["x"], ["kept", "mask"])
      $0.node("Relu", ["kept"], ["y"])
      $0.value(12, "y", [nil, 4])
    }
    #expect(mnemonics(graph) == ["identity", "relu"])
    let error = importError(
      Proto.model(
        Proto {
          $0.value(11, "x", [nil, 4])
          $0.node("Dropout", ["x"], ["kept", "mask"])
          $0.value(12, "mask", [nil, 4])
        }))
    #expect(error?.description.contains("its output 2 is not supported") == true)
  }

  /// Bounds that go through an Identity are constants all the same.
  @Test func boundsThroughCopies() throws {
    let graph = try graph {
      $0.value(11, "x", [nil, 4])
      $0.message(5, Proto.tensor("six", []) { $0.float(4, 6.5) })
      $0.node("Identity", ["six"], ["bound"])
      $0.node("Clip", ["x", "", "bound"], ["y"])
      $0.value(12, "y", [nil, 4])
    }
    #expect(mnemonics(graph).last == "clip")
    guard case .unary(let clip)? = graph.order.last.map({ graph[$0].op }) else { return }
    #expect(clip.alpha == -.infinity && clip.beta == 6.5)
  }

  /// A model with a function `own.Twice(x) = LeakyRelu(x + x)` whose slope is an attribute of the call.
  private func model(calling inner: String, _ graph: (inout Proto) -> Void) -> [UInt8] {
    var model = Proto()
    model.bytes = Proto.model(Proto(graph))
    model.message(8) {
      $0.text(1, "own")
      $0.int(2, 1)
    }
    model.message(25) { function in
      function.text(1, "Twice")
      function.text(4, "x")
      function.text(5, "y")
      function.text(6, "slope")
      function.message(7) { node in
        node.text(1, "x")
        node.text(1, "x")
        node.text(2, "sum")
        node.text(4, "Add")
      }
      function.message(7) { node in
        node.text(1, "sum")
        node.text(2, "y")
        node.text(4, inner)
        if inner == "Twice" { node.text(7, "own") }
        node.message(5) {
          $0.text(1, "alpha")
          $0.text(21, "slope")
          $0.int(20, 1)
        }
      }
      function.text(10, "own")
    }
    return model.bytes
  }

  @Test func functionsAreInlined() throws {
    let graph = try importBytes(
      model(calling: "LeakyRelu") {
        $0.value(11, "x", [nil, 4])
        $0.node("Twice", ["x"], ["a"], domain: "own") { node in
          node.message(5) {
            $0.text(1, "slope")
            $0.int(20, 1)
            $0.float(2, 0.5)
          }
        }
        $0.node("Twice", ["a"], ["y"], domain: "own")
        $0.value(12, "y", [nil, 4])
      }
    ).graph
    #expect(mnemonics(graph) == ["add", "leaky-relu", "add", "leaky-relu"])
    let slopes = graph.order.compactMap { id -> Float? in
      if case .unary(let unary) = graph[id].op { unary.alpha } else { nil }
    }
    #expect(slopes == [0.5, 0.01])
    #expect(graph[graph.outputs[0]].name == "y")
  }

  @Test func recursiveFunctionsAreRefused() {
    let error = importError(
      model(calling: "Twice") {
        $0.value(11, "x", [nil, 4])
        $0.node("Twice", ["x"], ["y"], domain: "own")
        $0.value(12, "y", [nil, 4])
      })
    #expect(error?.description.contains("calls itself") == true)
    #expect(error?.status == .malformedInput)
  }

  // MARK: - The batch

  private func shapes(_ sizes: [Int?], _ build: (inout Proto) -> Void) throws(CompilerError) -> [String] {
    let graph = try graph {
      $0.value(11, "x", sizes)
      build(&$0)
      $0.value(12, "y", [nil])
    }
    return (graph.inputs + graph.outputs).map { graph[$0].type.shape.description }
  }

  @Test func aBatchOfOneBecomesAnyBatch() throws {
    let result = try shapes([1, 2, 4, 4]) {
      $0.message(5, Proto.tensor("shape", type: 7, [2]) { $0.data(7, [1, 32]) })
      $0.node("Reshape", ["x", "shape"], ["y"])
    }
    #expect(result == ["[N, 2, 4, 4]", "[N, 32]"])
  }

  /// Where samples would mix, the batch of one stays.
  @Test func aBatchOfOneStaysWhereItMatters() throws {
    let mean = try shapes([1, 4]) { $0.node("ReduceMean", ["x"], ["y"]) { $0.attribute("axes", ints: [0]) } }
    #expect(mean == ["[1, 4]", "[1, 4]"])
    let flat = try shapes([1, 4]) {
      $0.message(5, Proto.tensor("shape", type: 7, [1]) { $0.int(7, -1) })
      $0.node("Reshape", ["x", "shape"], ["y"])
    }
    #expect(flat == ["[1, 4]", "[4]"])
    let softmax = try shapes([1, 4]) { $0.node("Softmax", ["x"], ["y"]) { $0.attribute("axis", int: 0) } }
    #expect(softmax == ["[1, 4]", "[1, 4]"])
  }

  @Test func autoPad() throws {
    for (mode, pads) in [
      ("SAME_UPPER", [0, 0, 1, 1]), ("SAME_LOWER", [1, 1, 0, 0]), ("VALID", [0, 0, 0, 0]),
    ] {
      let graph = try graph {
        $0.value(11, "x", [nil, 1, 4, 4])
        $0.node("MaxPool", ["x"], ["y"]) {
          $0.attribute("kernel_shape", ints: [2, 2])
          $0.attribute("auto_pad", text: mode)
        }
        $0.value(12, "y", [nil])
      }
      guard case .maxPool(let pool)? = graph.order.first.map({ graph[$0].op }) else { return }
      #expect(pool.pads == pads)
    }
  }

  @Test func attributesOfTheWrongAgeAreRefused() {
    // Clip's bounds were attributes before operator set 11, Squeeze's axes before 13.
    for (name, attribute) in [("Squeeze", "axes"), ("Clip", "min")] {
      let error = importError(
        Proto.model(
          Proto {
            $0.value(11, "x", [nil, 1])
            $0.node(name, ["x"], ["y"]) { $0.attribute(attribute, ints: [1]) }
            $0.value(12, "y", [nil])
          }))
      #expect(
        error?.description.contains("attribute '\(attribute)' is unknown in operator set 13") == true,
        "\(String(describing: error))")
    }
  }

  @Test func operatorSetsOutOfRange() {
    for opset in [6, 29] {
      let error = importError(Proto.model(opset: opset, Proto { $0.value(12, "y", [1]) }))
      #expect(error?.description.contains("operator set \(opset) is not supported") == true)
    }
  }
}
