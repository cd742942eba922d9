import Foundation
import KernelInterface
import Runtime

/// What the processor can do at most, measured: the instructions that kernels are made of, and memory.
struct Peaks {
  struct Arithmetic {
    var name: String
    var gops: Double
  }
  struct Memory {
    var name: String
    var bytes: Int
    var gigabytesPerSecond: Double
  }
  private(set) var arithmetic: [Arithmetic] = []
  private(set) var memory: [Memory] = []
  /// Of one core, estimated.
  private(set) var gigahertz = 0.0
  let cores = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))

  /// - Parameter names: peaks to measure, without memory and frequency; nil for everything.
  init(only names: Set<String>? = nil, features: CPUFeatures = .host) {
    for peak in KernelTable.peaks where features.isSuperset(of: peak.features) {
      guard names?.contains("\(peak.name)") ?? true else { continue }
      arithmetic.append(Arithmetic(name: "\(peak.name)", gops: Self.gops(peak)))
    }
    if names != nil { return }
    gigahertz = Self.frequency()
    if let reader = KernelTable.memoryReaders.first(where: { features.isSuperset(of: $0.features) }) {
      memory = Self.levels.map { level in
        Memory(
          name: level.name, bytes: level.bytes,
          gigabytesPerSecond: Self.bandwidth(reader, bytes: level.bytes))
      }
    }
  }

  subscript(name: StaticString?) -> Double? {
    guard let name else { return nil }
    return arithmetic.first { $0.name == "\(name)" }?.gops
  }

  // MARK: Measurements, each the best of many short ones

  private static func gops(_ peak: Peak) -> Double {
    let iterations = 20_000
    let seconds = fastest { peak.function(iterations) }
    return 1e-9 * Double(peak.operationsPerIteration * iterations) / seconds
  }

  private static func frequency() -> Double {
    let steps = 500_000
    let seconds = fastest { KernelTable.dependentSteps(steps) }
    return 1e-9 * Double(KernelTable.cyclesPerDependentStep * steps) / seconds
  }

  private static func bandwidth(_ reader: MemoryReader, bytes: Int) -> Double {
    let blocks = bytes / MemoryReader.blockBytes,
      memory = UnsafeMutableRawPointer.allocate(
        byteCount: bytes, alignment: 4096)
    defer { memory.deallocate() }
    memory.initializeMemory(as: UInt8.self, repeating: 1, count: bytes)
    // Enough for the clock's resolution.
    let repetitions = max(1, (2 << 20) / bytes)
    let seconds = fastest {
      var sum: Int32 = 0
      for _ in 0..<repetitions { sum &+= reader.function(memory, blocks) }
      return sum
    }
    return 1e-9 * Double(repetitions * blocks * MemoryReader.blockBytes) / seconds
  }

  /// Half of every level of the cache, and several times the last one.
  private static var levels: [(name: String, bytes: Int)] {
    let sizes = [1: 32 << 10, 2: 512 << 10, 3: 8 << 20].merging(cacheBytes) { $1 }
    func whole(_ bytes: Int) -> Int { bytes / MemoryReader.blockBytes * MemoryReader.blockBytes }
    let caches = sizes.sorted { $0.key < $1.key }.map { (name: "L\($0.key)", bytes: whole($0.value / 2)) }
    return caches + [(name: "DRAM", bytes: whole(min(4 * (sizes.values.max() ?? 0), 512 << 20)))]
  }

  /// Bytes of the first processor's caches for data by level, as the system knows them.
  private static var cacheBytes: [Int: Int] {
    var sizes: [Int: Int] = [:]
    for index in 0..<8 {
      func value(_ name: String) -> String? {
        let path = "/sys/devices/system/cpu/cpu0/cache/index\(index)/\(name)"
        return try? String(contentsOfFile: path, encoding: .utf8).trimmingCharacters(in: .newlines)
      }
      guard let level = value("level").flatMap(Int.init), (1...4).contains(level),
        value("type") != "Instruction",
        let kibibytes = value("size").flatMap({ Int($0.dropLast()) }), (1...1 << 20).contains(kibibytes)
      else { continue }
      sizes[level] = kibibytes << 10
    }
    return sizes
  }

  /// The result is used, so that the work cannot be left out.
  private static func fastest(_ work: () -> Int32) -> Double {
    let clock = ContinuousClock()
    var best = Double.infinity, spent = 0.0, runs = 0, sink: Int32 = 0
    while runs < 5 || (spent < 0.05 && runs < 200) {
      let seconds = clock.measure { sink ^= work() }.seconds
      best = min(best, seconds)
      spent += seconds
      runs += 1
    }
    withExtendedLifetime(sink) {}
    return best
  }

  // MARK: Reports

  var text: String {
    var table = Table(["peak", "of one core", ""], right: [1])
    for peak in arithmetic { table.add([peak.name, fixed(peak.gops, 0), "GOPS"]) }
    for level in memory {
      table.add([
        "read \(level.name)", fixed(level.gigabytesPerSecond, 1), "GB/s, \(humanBytes(level.bytes))",
      ])
    }
    table.add(["frequency", fixed(gigahertz, 2), "GHz, estimated"])
    table.add(["cores", "\(cores)", ""])
    return "\(Processor.model)\n\(table.text)"
  }

  var json: Json {
    .object([
      ("processor", .string(Processor.model)), ("cores", .int(cores)), ("gigahertz", .double(gigahertz)),
      ("gops", .object(arithmetic.map { ($0.name, .double($0.gops)) })),
      (
        "memory",
        .array(
          memory.map {
            .object([
              ("level", .string($0.name)), ("bytes", .int($0.bytes)),
              ("gigabytesPerSecond", .double($0.gigabytesPerSecond)),
            ])
          })
      ),
    ])
  }
}
