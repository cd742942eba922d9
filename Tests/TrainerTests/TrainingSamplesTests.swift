import Evaluator
import Support
import Testing

@testable import Trainer

@Suite("Batches of samples")
struct TrainingSamplesTests {
  @Test func everyEpochHoldsEverySampleOnce() {
    var order = BatchOrder(count: 40, batch: 8, seed: 9)
    var epochs: [[Int]] = []
    for epoch in 0..<3 { epochs.append((0..<5).flatMap { order.samples(step: epoch * 5 + $0) }) }
    for epoch in epochs { #expect(epoch.sorted() == Array(0..<40)) }
    #expect(epochs[0] != epochs[1] && epochs[0] != Array(0..<40))
    // A step's samples do not depend on those asked for before.
    var late = BatchOrder(count: 40, batch: 8, seed: 9)
    #expect(late.samples(step: 12) == Array(epochs[2][16..<24]))
  }

  @Test func augmentationCutsAndMirrors() {
    let image = (0..<9).map { Float($0 + 1) }
    func augmented(_ augmentation: Augmentation, seed: UInt64) -> [Float] {
      var random = SeededRandom(seed: seed), result = [Float](repeating: -1, count: 9)
      image.withUnsafeBufferPointer { source in
        result.withUnsafeMutableBufferPointer { augmentation.apply(source, [1, 3, 3], to: $0, &random) }
      }
      return result
    }
    // Every shift of the image, mirrored or not, by hand.
    var expected = Set<[Float]>()
    for top in -1...1 {
      for left in -1...1 {
        for flip in [false, true] {
          var moved: [Float] = []
          for y in 0..<3 {
            for x in 0..<3 {
              let from = (y + top, (flip ? 2 - x : x) + left)
              let isInside = (0..<3).contains(from.0) && (0..<3).contains(from.1)
              moved.append(isInside ? image[from.0 * 3 + from.1] : 0)
            }
          }
          expected.insert(moved)
        }
      }
    }
    let seen = Set((0..<500).map { augmented(Augmentation(padding: 1, flips: true), seed: $0) })
    #expect(seen == expected && expected.count == 18)
    #expect(augmented(Augmentation(), seed: 1) == image)
  }

  @Test func batchesAreTheSameForAnyThreads() throws {
    let samples = try SmallNetwork.samples(50, seed: 4)
    let augmentation = Augmentation(padding: 2, flips: true), chosen = [3, 40, 7, 7]
    let one = try samples.batch(chosen, augmentation, seed: 5, number: 100, threads: 1)
    let four = try samples.batch(chosen, augmentation, seed: 5, number: 100, threads: 4)
    #expect(one.inputs.bytes == four.inputs.bytes && one.labels == chosen.map { samples.labels[$0] })
    let later = try samples.batch(chosen, augmentation, seed: 5, number: 104, threads: 1)
    #expect(one.inputs.bytes != later.inputs.bytes)
  }

  @Test func blendsLieBetweenTwoSamples() throws {
    let samples = try SmallNetwork.samples(50, seed: 4), chosen = [3, 40, 7]
    let plain = try samples.batch(chosen, nil, seed: 5, number: 0, threads: 1).inputs.floats
    let blended = try samples.batch(chosen, Augmentation(blends: true), seed: 5, number: 0, threads: 1).inputs
      .floats
    let length = plain.count / chosen.count
    let originals = chosen.indices.map { Array(plain[$0 * length..<($0 + 1) * length]) }
    for (index, first) in originals.enumerated() {
      let blend = Array(blended[index * length..<(index + 1) * length])
      // The share that the element of the largest difference tells explains all others.
      let isBlend = originals.contains { second in
        let differences = zip(second, first).map { $0 - $1 }
        guard let widest = differences.indices.max(by: { abs(differences[$0]) < abs(differences[$1]) }),
          differences[widest] != 0
        else { return blend == first }
        let share = (blend[widest] - first[widest]) / differences[widest]
        return (0...1).contains(share)
          && blend.indices.allSatisfy { abs(first[$0] + share * differences[$0] - blend[$0]) < 1e-4 }
      }
      #expect(isBlend)
    }
    #expect(plain != blended)
  }
}
