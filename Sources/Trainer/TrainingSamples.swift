import Datasets
import Dispatch
import Evaluator
import IR
import Support
import Synchronization

/// Labelled samples as network inputs: decoded once where they fit the memory, else anew for every batch.
package struct TrainingSamples: Sendable {
  package let shape: [Int]
  package let labels: [Int]
  /// Messages about samples that could not be read and are left out.
  package let unreadable: [Diagnostic]
  private let data: PreparedDataset
  /// Positions in the dataset of the samples that can be read.
  private let positions: [Int]
  private let decoded: [Float]?
  package var count: Int { labels.count }
  private var length: Int { shape.reduce(1, *) }

  /// - Parameters:
  ///   - shape: of one input, without the batch axis.
  ///   - classes: labels lie below; nil: any.
  ///   - memory: bytes of decoded samples kept, at most.
  /// - Throws: when samples have no labels, labels out of range, or none can be read.
  package init(
    _ data: PreparedDataset, shape: [Int], classes: Int?, memory: Int = 4 << 30, threads: Int,
    progress: (_ done: Int, _ total: Int) -> Void
  ) throws(CompilerError) {
    guard data.dataset.hasLabels else {
      throw CompilerError(
        "training needs labels, and \(data.dataset.path) has none",
        notes: ["a folder per class, --labels, or an array 'labels' beside the samples"])
    }
    let length = shape.reduce(1, *), keeps = data.count * length * 4 <= memory
    var decoded: [Float] = [], labels: [Int] = [], positions: [Int] = [], unreadable: [Diagnostic] = []
    if keeps { decoded.reserveCapacity(data.count * length) }
    let loader = BatchLoader(data, threads: threads, window: 1024)
    while let batch = try loader.next(1024) {
      for (index, position) in batch.positions.enumerated() {
        guard let label = batch.labels[index], label >= 0, label < classes ?? .max else {
          throw CompilerError(
            "the class index of '\(data.name(of: position))' is \(batch.labels[index].map(String.init) ?? "missing"); the network has \(classes ?? 0) classes"
          )
        }
        guard batch.inputs[index].count == length else {
          throw CompilerError("'\(data.name(of: position))' does not fit the network's input \(shape)")
        }
        labels.append(label)
        positions.append(position)
        if keeps { decoded += batch.inputs[index] }
      }
      progress(labels.count, data.count)
    }
    unreadable = loader.unreadable
    guard !labels.isEmpty else { throw CompilerError("no sample of \(data.dataset.path) can be read") }
    (self.data, self.shape, self.labels, self.positions) = (data, shape, labels, positions)
    self.unreadable = unreadable
    self.decoded = keeps ? decoded : nil
  }

  private init(_ other: TrainingSamples, _ range: Range<Int>) {
    (shape, data, unreadable) = (other.shape, other.data, [])
    labels = Array(other.labels[range])
    positions = Array(other.positions[range])
    let length = other.length
    decoded = other.decoded.map { Array($0[range.lowerBound * length..<range.upperBound * length]) }
  }
  /// Some of the samples.
  /// - Requires: the range lies within them.
  package func part(_ range: Range<Int>) -> TrainingSamples { TrainingSamples(self, range) }

  /// The input of one sample, row-major.
  private func withSample<R>(
    _ index: Int, _ body: (UnsafeBufferPointer<Float>) -> R
  ) throws(CompilerError) -> R {
    if let decoded {
      return decoded.withUnsafeBufferPointer {
        body(UnsafeBufferPointer(rebasing: $0[index * length..<(index + 1) * length]))
      }
    }
    return try data.sample(positions[index]).values.withUnsafeBufferPointer(body)
  }

  /// Samples with what `augmentation` makes of each; the same for any number of threads.
  /// - Parameters:
  ///   - number: of the first sample in the whole of training, so that every appearance of a sample differs.
  ///   - rows: those of the batch that are made, others stay undefined; nil: all.
  package func batch(
    _ indices: [Int], _ augmentation: Augmentation?, seed: UInt64, number: Int, rows: [Int]? = nil,
    threads: Int
  ) throws(CompilerError) -> (inputs: Tensor, labels: [Int]) {
    let inputs = Tensor([indices.count] + shape, .f32), target = Target(inputs.pointer(Float.self))
    let next = Atomic(0), failure = Mutex<CompilerError?>(nil), rows = rows ?? Array(indices.indices)
    DispatchQueue.concurrentPerform(iterations: decoded == nil ? max(threads, 1) : 1) { _ in
      while true {
        let turn = next.wrappingAdd(1, ordering: .relaxed).oldValue
        guard turn < rows.count else { return }
        let index = rows[turn]
        var random = SeededRandom(seed: seed, stream: UInt64(number + index))
        do throws(CompilerError) {
          try withSample(indices[index]) { sample in
            let place = UnsafeMutableBufferPointer(start: target.base + index * length, count: length)
            if let augmentation {
              augmentation.apply(sample, shape, to: place, &random)
            } else {
              _ = place.update(from: sample)
            }
          }
          if let augmentation, augmentation.blends {
            let other = indices[Int(random.below(UInt64(indices.count)))]
            try withSample(other) { sample in
              withUnsafeTemporaryAllocation(of: Float.self, capacity: length) { second in
                augmentation.apply(sample, shape, to: second, &random)
                let share = Float(random.unit()), first = target.base + index * length
                for position in 0..<length { first[position] += share * (second[position] - first[position]) }
              }
            }
          }
        } catch { failure.withLock { $0 = $0 ?? error } }
      }
    }
    if let error = failure.withLock({ $0 }) { throw error }
    return (inputs, indices.map { labels[$0] })
  }
  /// Threads write to parts of their own.
  private struct Target: @unchecked Sendable {
    let base: UnsafeMutablePointer<Float>
    init(_ base: UnsafeMutablePointer<Float>) { self.base = base }
  }
}

/// What happens to images at random on their way into a batch.
package struct Augmentation: Hashable, Sendable {
  /// Zeros around an image, of which a random part of the image's size is cut out.
  package var padding = 0
  /// Mirrors half of the images.
  package var flips = false
  /// Adds another image of the batch, in random shares (mixup, Zhang and others 2018): what a blend is, labels do not say.
  package var blends = false
  package init(padding: Int = 0, flips: Bool = false, blends: Bool = false) {
    (self.padding, self.flips, self.blends) = (padding, flips, blends)
  }

  /// - Parameter shape: [C, H, W]; anything else passes unchanged.
  func apply(
    _ sample: UnsafeBufferPointer<Float>, _ shape: [Int], to target: UnsafeMutableBufferPointer<Float>,
    _ random: inout SeededRandom
  ) {
    guard shape.count == 3, let source = sample.baseAddress, let result = target.baseAddress else {
      _ = target.update(from: sample)
      return
    }
    let height = shape[1], width = shape[2], span = UInt64(2 * padding + 1)
    let top = Int(random.below(span)) - padding, left = Int(random.below(span)) - padding
    let isFlipped = flips && random.next() & 1 == 1
    for channel in 0..<shape[0] {
      for y in 0..<height {
        let row = result + (channel * height + y) * width, from = y + top
        guard (0..<height).contains(from) else {
          row.update(repeating: 0, count: width)
          continue
        }
        let line = source + (channel * height + from) * width
        for x in 0..<width {
          let place = (isFlipped ? width - 1 - x : x) + left
          row[x] = place >= 0 && place < width ? line[place] : 0
        }
      }
    }
  }
}

/// The order of samples: every epoch a new one, all of them once but for what does not fill a batch.
package struct BatchOrder: Sendable {
  package let count: Int
  package let batch: Int
  private let seed: UInt64
  private var epoch = -1
  private var order: [Int] = []
  package var batchesPerEpoch: Int { max(count / batch, 1) }

  package init(count: Int, batch: Int, seed: UInt64) {
    (self.count, self.batch, self.seed) = (count, min(batch, count), seed)
  }

  /// The samples of step `step`; a function of the seed and the step alone.
  package mutating func samples(step: Int) -> [Int] {
    let (epoch, position) = step.quotientAndRemainder(dividingBy: batchesPerEpoch)
    if epoch != self.epoch {
      var random = SeededRandom(seed: seed, stream: UInt64(epoch))
      order = Array(0..<count)
      order.shuffle(using: &random)
      self.epoch = epoch
    }
    return Array(order[position * batch..<(position + 1) * batch])
  }
}
