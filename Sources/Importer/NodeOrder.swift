/// The nodes so that each follows those whose results it reads; the given order where that leaves a choice. ONNX wants
/// files in this order, but not all tools obey. Nodes on a cycle stay at the end, where the walk reports them.
func topologicallySorted(_ nodes: [OnnxNode]) -> [OnnxNode] {
  var producer: [String: Int] = [:]
  for (index, node) in nodes.enumerated() {
    for output in node.outputs where !output.isEmpty && producer[output] == nil { producer[output] = index }
  }
  var isSorted = true
  var missing = Array(repeating: 0, count: nodes.count)
  var readers = Array(repeating: [Int](), count: nodes.count)
  for (index, node) in nodes.enumerated() {
    for input in node.inputs {
      guard let source = producer[input] else { continue }
      missing[index] += 1
      readers[source].append(index)
      if source >= index { isSorted = false }
    }
  }
  if isSorted { return nodes }
  // Ready nodes wait in rounds, so that the result depends on the given order alone.
  var result: [OnnxNode] = [], isPlaced = Array(repeating: false, count: nodes.count)
  var ready = nodes.indices.filter { missing[$0] == 0 }
  while !ready.isEmpty {
    var next: [Int] = []
    for index in ready {
      result.append(nodes[index])
      isPlaced[index] = true
      for reader in readers[index] {
        missing[reader] -= 1
        if missing[reader] == 0 { next.append(reader) }
      }
    }
    ready = next.sorted()
  }
  return result + nodes.indices.filter { !isPlaced[$0] }.map { nodes[$0] }
}
