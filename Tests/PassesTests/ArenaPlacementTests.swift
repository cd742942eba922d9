import Passes
import Testing

@Suite struct ArenaPlacementTests {
  typealias Block = ArenaPlacement.Block

  private func randomBlocks(_ random: inout SeededGenerator, count: Int, steps: Int, longest: Int) -> [Block]
  {
    (0..<count).map { _ in
      let first = random.int(0...steps - 1)
      return Block(
        bytes: 64 * random.int(1...12), firstStep: first,
        lastStep: min(steps - 1, first + random.int(0...longest)))
    }
  }

  private func check(_ blocks: [Block], _ placement: ArenaPlacement) {
    for (a, block) in blocks.enumerated() {
      #expect(placement.offsets[a] >= 0 && placement.offsets[a] + block.bytes <= placement.bytes)
      for b in blocks.indices where b > a && block.lives(with: blocks[b]) {
        let overlaps =
          placement.offsets[a] < placement.offsets[b] + blocks[b].bytes
          && placement.offsets[b] < placement.offsets[a] + block.bytes
        #expect(!overlaps, "blocks \(a) and \(b) of \(blocks) at \(placement.offsets)")
      }
    }
    let alive = (0...(blocks.map(\.lastStep).max() ?? 0)).map { step in
      blocks.filter { $0.firstStep <= step && step <= $0.lastStep }.reduce(0) { $0 + $1.bytes }
    }
    #expect(placement.lowerBound == alive.max())
    #expect(placement.bytes >= placement.lowerBound)
  }

  @Test(arguments: UInt64(0)..<60) func blocksThatLiveTogetherLieApart(seed: UInt64) {
    var random = SeededGenerator(seed)
    let blocks = randomBlocks(&random, count: random.int(1...80), steps: random.int(1...60), longest: 12)
    let placement = ArenaPlacement(blocks, effort: 20_000)
    check(blocks, placement)
    #expect(ArenaPlacement(blocks, effort: 20_000).offsets == placement.offsets)
  }

  /// The least arena: of all orders, each block at the lowest free offset.
  private func smallest(_ blocks: [Block]) -> Int {
    var best = Int.max, offsets = [Int?](repeating: nil, count: blocks.count)
    func place(_ placed: Int, _ needed: Int) {
      guard needed < best else { return }
      guard placed < blocks.count else { return best = needed }
      for next in blocks.indices where offsets[next] == nil {
        var offset = 0
        let others = blocks.indices.filter { offsets[$0] != nil && blocks[$0].lives(with: blocks[next]) }
          .map { (offsets[$0] ?? 0, blocks[$0].bytes) }.sorted { $0 < $1 }
        for (start, bytes) in others {
          if offset + blocks[next].bytes <= start { break }
          offset = max(offset, start + bytes)
        }
        offsets[next] = offset
        place(placed + 1, max(needed, offset + blocks[next].bytes))
        offsets[next] = nil
      }
    }
    place(0, 0)
    return best
  }

  @Test(arguments: UInt64(0)..<60) func fewBlocksTakeTheLeastArena(seed: UInt64) {
    var random = SeededGenerator(1000 + seed)
    let blocks = randomBlocks(&random, count: random.int(1...7), steps: 6, longest: 3)
    #expect(ArenaPlacement(blocks, effort: 100_000).bytes == smallest(blocks))
  }

  @Test func noBlocksTakeNoBytes() {
    let placement = ArenaPlacement([])
    #expect(placement.bytes == 0 && placement.lowerBound == 0 && placement.offsets.isEmpty)
  }

  /// A chain of 40,000 operations, each with its result alive for a few more.
  @Test func longChainsArePlacedAtOnce() {
    var random = SeededGenerator(7)
    let blocks = (0..<40_000).map { step in
      Block(bytes: 64 * random.int(1...100), firstStep: step, lastStep: step + random.int(1...4))
    }
    let placement = ArenaPlacement(blocks, effort: 0)
    #expect(placement.bytes >= placement.lowerBound && placement.bytes < 2 * placement.lowerBound)
  }
}
