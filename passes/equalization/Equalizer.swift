import Glibc
import IR

/// Which spreads between channels a factor per channel is to even out.
enum EqualizationTarget: String, TextEnumeration {
  /// Of the weights that compute a channel and of those that read it.
  case weights
  /// Of a channel's largest magnitude and of the weights that read it.
  case activations
  /// Of all three: the geometric mean of the first two against the third.
  case both
}

/// Finds a factor for every class of channels that evens out the spreads between them.
///
/// A group is a set of classes that share a layer on the same side. Within one, with every range relative to the largest of
/// its tensor and the largest of all tensors of a side taken, the factor of a channel tends to
/// `source^alpha / readers^(1 - alpha)`.
struct Equalizer {
  /// One side of a layer: the classes of its rows or columns.
  private struct Side {
    var layer: Int
    var isRows: Bool
  }
  private struct Group {
    var roots: [Int] = []
    var sources: [Side] = []
    var readers: [Side] = []
    var values: [ValueID] = []
  }
  let classes: ChannelClasses
  private let target: EqualizationTarget
  private let alpha: Double
  private let limit: Double
  private var groups: [Group] = []
  /// Of every layer, the class of each row and column.
  private let rowRoots: [[Int]]
  private let columnRoots: [[Int]]
  private let blockMaxima: [[Double]]
  private let maxima: ChannelMaxima
  private(set) var factors: ChannelFactors
  private let leastFactors: [Double]
  /// Channels that have both sides and cannot be scaled, by reason.
  private(set) var kept: [(reason: String, count: Int)] = []

  /// - Parameter leastFactors: of every class; infinite where it cannot be scaled.
  init(
    _ classes: ChannelClasses, _ graph: Graph, _ target: EqualizationTarget, alpha: Double, limit: Double,
    _ maxima: ChannelMaxima, leastFactors: [Double]
  ) {
    self.classes = classes
    self.target = target
    self.alpha = alpha
    self.limit = limit
    self.maxima = maxima
    self.leastFactors = leastFactors
    factors = ChannelFactors(classes)
    blockMaxima = classes.layers.map(\.blockMaxima)
    rowRoots = classes.layers.map { layer in
      classes.elements(of: graph[layer.op].results[0]).map { classes.root($0) }
    }
    columnRoots = classes.layers.map { layer in
      layer.columns == 0 ? [] : classes.elements(of: graph[layer.op].operands[0]).map { classes.root($0) }
    }
    makeGroups(graph)
  }

  var groupCount: Int { groups.count }

  // MARK: Groups

  private mutating func makeGroups(_ graph: Graph) {
    var hasSource = [Bool](repeating: false, count: classes.elementCount), hasReader = hasSource
    for layer in classes.layers.indices where classes.layers[layer].weightOperand != nil {
      for root in rowRoots[layer] { hasSource[root] = true }
      for root in columnRoots[layer] { hasReader[root] = true }
    }
    var isFree = hasSource
    for root in isFree.indices where hasSource[root] {
      let reason = classes.reason(root) ?? (leastFactors[root] == .infinity ? "a clip is reached" : nil)
      isFree[root] = hasReader[root] && reason == nil
      guard hasReader[root], let reason else { continue }
      if let index = kept.firstIndex(where: { $0.reason == reason }) {
        kept[index].count += 1
      } else {
        kept.append((reason, 1))
      }
    }
    // Classes on the same side of a layer are one group, numbered by its smallest class.
    var parents = Array(isFree.indices)
    func find(_ root: Int) -> Int {
      var root = root
      while parents[root] != root { root = parents[root] }
      return root
    }
    for layer in classes.layers.indices where classes.layers[layer].weightOperand != nil {
      for side in [rowRoots[layer], columnRoots[layer]] {
        let free = side.filter { isFree[$0] }.map(find), least = free.min() ?? 0
        for root in free { parents[find(root)] = find(least) }
      }
    }
    var groupOf: [Int: Int] = [:]
    for root in isFree.indices where isFree[root] {
      let first = find(root)
      if groupOf[first] == nil {
        groupOf[first] = groups.count
        groups.append(Group())
      }
      if let group = groupOf[first] { groups[group].roots.append(root) }
    }
    func group(_ roots: [Int]) -> Int? { roots.first { isFree[$0] }.flatMap { groupOf[find($0)] } }
    for layer in classes.layers.indices where classes.layers[layer].weightOperand != nil {
      if let index = group(rowRoots[layer]) { groups[index].sources.append(Side(layer: layer, isRows: true)) }
      if let index = group(columnRoots[layer]) {
        groups[index].readers.append(Side(layer: layer, isRows: false))
      }
    }
    for id in graph.order {
      for value in graph[id].results where maxima[value] != nil {
        if let index = group(classes.elements(of: value).map { classes.root($0) }) {
          groups[index].values.append(value)
        }
      }
    }
  }

  // MARK: Solving

  /// One round over all groups, each seeing the factors of those before it; gives the sum of |factor - 1|.
  mutating func sweep(first count: Int) -> Double {
    var change = 0.0
    for group in groups.prefix(count) {
      var weights: [Int: Double] = [:], activations: [Int: Double] = [:], readers: [Int: Double] = [:]
      for side in group.sources { add(side, to: &weights) }
      for side in group.readers { add(side, to: &readers) }
      for value in group.values { add(value, to: &activations) }
      for root in group.roots {
        let source: Double
        switch target {
        case .weights: source = weights[root] ?? 0
        case .activations: source = activations[root] ?? 0
        case .both: source = ((weights[root] ?? 0) * (activations[root] ?? 0)).squareRoot()
        }
        // A channel that is never written or never read has no range to even out.
        guard let reader = readers[root], source > 1e-12, reader > 1e-12 else { continue }
        let wanted = factors[root] * pow(source, alpha) / pow(reader, 1 - alpha)
        let new = min(max(wanted, 1 / limit, leastFactors[root]), limit)
        change += abs(new / factors[root] - 1)
        factors[root] = new
      }
    }
    return change
  }

  /// The ranges of a layer's rows or columns under the present factors, relative to its largest.
  private func add(_ side: Side, to ranges: inout [Int: Double]) {
    let layer = classes.layers[side.layer], rows = rowRoots[side.layer], columns = columnRoots[side.layer]
    var own = [Double](repeating: 0, count: side.isRows ? rows.count : columns.count)
    for (block, largest) in blockMaxima[side.layer].enumerated() {
      let row = layer.rowOfBlock[block], column = columns.isEmpty ? 0 : layer.columnOfBlock[block]
      let size = largest * (columns.isEmpty ? 1 : factors[columns[column]]) / factors[rows[row]]
      let index = side.isRows ? row : column
      own[index] = max(own[index], size)
    }
    merge(own, side.isRows ? rows : columns, into: &ranges)
  }
  private func add(_ value: ValueID, to ranges: inout [Int: Double]) {
    guard let largest = maxima[value] else { return }
    let roots = classes.elements(of: value).map { classes.root($0) }
    merge(zip(largest, roots).map { Double($0) / factors[$1] }, roots, into: &ranges)
  }
  private func merge(_ own: [Double], _ roots: [Int], into ranges: inout [Int: Double]) {
    guard let widest = own.max(), widest > 0 else { return }
    for (range, root) in zip(own, roots) { ranges[root] = max(ranges[root] ?? 0, range / widest) }
  }
}
