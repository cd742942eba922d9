import Support

/// Offsets for blocks of memory of which some live at the same time.
///
/// Every order of the blocks gives a placement: each block at the lowest offset where none of those placed before
/// that live with it is in the way; some order gives the best placement there is. A few orders that usually do well are
/// tried, then small changes of the best one, as many as a fixed amount of work allows, until the lower bound is met.
package struct ArenaPlacement {
  package struct Block: Hashable, Sendable {
    package var bytes: Int
    /// The first and the last operation at which it must keep its bytes.
    package var firstStep: Int
    package var lastStep: Int

    package init(bytes: Int, firstStep: Int, lastStep: Int) {
      self.bytes = bytes
      self.firstStep = firstStep
      self.lastStep = lastStep
    }
    package func lives(with other: Block) -> Bool {
      firstStep <= other.lastStep && other.firstStep <= lastStep
    }
  }

  package private(set) var offsets: [Int]
  package private(set) var bytes: Int
  /// The largest sum of bytes that live at one operation: no placement needs less.
  package let lowerBound: Int

  /// - Parameter effort: blocks and neighbours to look at in search of a better placement.
  package init(_ blocks: [Block], effort: Int = 20_000_000) {
    var search = Search(blocks)
    lowerBound = Self.lowerBound(of: blocks)
    offsets = search.offsets
    bytes = .max
    for order in Self.usualOrders(of: blocks) where bytes > lowerBound { consider(order, &search) }
    improve(blocks, &search, effort)
  }

  private static func lowerBound(of blocks: [Block]) -> Int {
    let steps = (blocks.map(\.lastStep).max() ?? 0) + 2
    var change = [Int](repeating: 0, count: steps)
    for block in blocks {
      change[block.firstStep] += block.bytes
      change[block.lastStep + 1] -= block.bytes
    }
    var alive = 0, largest = 0
    for difference in change {
      alive += difference
      largest = max(largest, alive)
    }
    return largest
  }

  private static func usualOrders(of blocks: [Block]) -> [[Int]] {
    func steps(_ block: Block) -> Int { block.lastStep - block.firstStep + 1 }
    let keys: [(Block) -> (Int, Int)] = [
      { (-$0.bytes, $0.firstStep) }, { (-$0.bytes * steps($0), $0.firstStep) }, { (-steps($0), -$0.bytes) },
      { ($0.firstStep, -$0.bytes) }, { (-$0.lastStep, -$0.bytes) },
    ]
    return keys.map { key in
      let all = blocks.map(key)
      return blocks.indices.sorted { (all[$0].0, all[$0].1, $0) < (all[$1].0, all[$1].1, $1) }
    }
  }

  /// The best order found so far; kept beside the offsets that it gives.
  private var order: [Int] = []

  /// Takes the placement of an order that needs no more than the best one.
  private mutating func consider(_ candidate: [Int], _ search: inout Search) {
    guard let needed = search.place(candidate, limit: bytes) else { return }
    (order, offsets, bytes) = (candidate, search.offsets, needed)
  }

  /// Moves blocks that reach to the end of the arena, or any, to another position in the order.
  private mutating func improve(_ blocks: [Block], _ search: inout Search, _ effort: Int) {
    var random = SeededRandom(seed: UInt64(blocks.count)), left = effort
    while bytes > lowerBound && left > 0 {
      left -= search.work
      var candidate = order
      var from = Int(random.below(UInt64(order.count)))
      if random.below(2) == 0,
        let highest = order.firstIndex(where: { offsets[$0] + blocks[$0].bytes == bytes })
      {
        from = highest
      }
      let block = candidate.remove(at: from)
      candidate.insert(block, at: Int(random.below(UInt64(order.count))))
      consider(candidate, &search)
    }
  }
}

/// Places blocks in a given order, over and over.
private struct Search {
  private let blocks: [ArenaPlacement.Block]
  /// For every block those that live with it.
  private var neighbours: [[Int32]]
  private(set) var offsets: [Int]
  /// Blocks and neighbours that one placement looks at.
  private(set) var work: Int

  init(_ blocks: [ArenaPlacement.Block]) {
    self.blocks = blocks
    neighbours = Array(repeating: [], count: blocks.count)
    offsets = Array(repeating: -1, count: blocks.count)
    work = blocks.count
    var alive: [Int] = []
    for index in blocks.indices.sorted(by: { (blocks[$0].firstStep, $0) < (blocks[$1].firstStep, $1) }) {
      alive.removeAll { blocks[$0].lastStep < blocks[index].firstStep }
      for other in alive {
        neighbours[index].append(Int32(other))
        neighbours[other].append(Int32(index))
      }
      work += 2 * alive.count
      alive.append(index)
    }
  }

  /// - Returns: the bytes that the placement needs; nil when they are more than the limit.
  mutating func place(_ order: [Int], limit: Int) -> Int? {
    for index in offsets.indices { offsets[index] = -1 }
    var needed = 0, taken: [(offset: Int, end: Int)] = []
    for index in order {
      taken.removeAll(keepingCapacity: true)
      for neighbour in neighbours[index] where offsets[Int(neighbour)] >= 0 {
        let offset = offsets[Int(neighbour)]
        taken.append((offset, offset + blocks[Int(neighbour)].bytes))
      }
      taken.sort { $0.offset < $1.offset }
      var offset = 0
      for other in taken {
        if offset + blocks[index].bytes <= other.offset { break }
        offset = max(offset, other.end)
      }
      offsets[index] = offset
      needed = max(needed, offset + blocks[index].bytes)
      if needed > limit { return nil }
    }
    return needed
  }
}
