import Foundation
import Support
import Testing

@testable import Datasets

/// Damaged files must give an error that names them, or samples; never a trap, and no memory beyond the limits.
@Suite struct HostileFiles {
  static let files = [
    "color.png", "gray.png", "palette.png", "color.jpg", "progressive.jpg", "print.jpg", "array-f4.npy",
    "array-i8.npy",
    "array-f2.npy", "stored.npz", "compressed.npz", "idx/t-images-idx3-ubyte.gz", "idx/t-labels-idx1-ubyte",
    "cifar.bin",
  ]

  static var limits: DataLimits {
    var limits = DataLimits()
    limits.imagePixels = 1 << 18
    limits.expandedBytes = 1 << 22
    return limits
  }

  /// Opens and reads some samples; errors must say where.
  private func read(_ path: String, labels: String? = nil) {
    do throws(CompilerError) {
      let dataset = try Dataset(path: path, labels: labels, limits: Self.limits)
      for index in 0..<min(dataset.count, 4) { _ = try dataset.sample(at: index) }
    } catch {
      #expect(error.diagnostics.allSatisfy { !$0.message.isEmpty && !$0.location.isEmpty }, "\(error)")
    }
  }

  @Test(arguments: files)
  func changedBytesNeverTrap(name: String) throws {
    let original = [UInt8](try Data(contentsOf: URL(filePath: vector(name))))
    var random = SeededRandom(seed: 42)
    try withTemporaryFolder { folder in
      let path = "\(folder)/t-images-idx3-ubyte"
      try write([0, 0, 8, 1, 0, 0, 0, 5, 3, 1, 4, 1, 5], "\(folder)/t-labels-idx1-ubyte")
      for round in 0..<300 {
        var bytes = original
        if round % 5 == 0 { bytes.removeLast(Int(random.below(UInt64(bytes.count)))) }
        // Headers are where the sizes are.
        let span = round % 2 == 0 ? min(bytes.count, 128) : bytes.count
        for _ in 0...random.below(4) where span > 0 {
          bytes[Int(random.below(UInt64(span)))] =
            [0, 1, 0x7F, 0x80, 0xFF, UInt8(random.below(256))][Int(random.below(6))]
        }
        try write(bytes, path)
        read(path)
        if name.contains("labels") { read(vector("idx"), labels: path) }
      }
    }
  }

  @Test(arguments: [
    "(9223372036854775807, 2)", "(4294967296, 4294967296, 4294967296)",
    "(0, 4611686018427387904, 4611686018427387904)",
    "(1, 0, 9223372036854775807)", "(99999999999999999999,)", "(-1,)", "(1,,2)", "(2, 3", "2, 3)", "()",
    "(6,)x",
    "(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 6)",
  ])
  func impossibleShapesAreRefused(shape: String) throws {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': \(shape), }\n"
    var bytes = NumPyHeader.magic + [1, 0, UInt8(header.utf8.count), 0]
    bytes += Array(header.utf8) + [UInt8](repeating: 0, count: 24)
    try withTemporaryFolder { folder in
      try write(bytes, "\(folder)/a.npy")
      #expect(throws: CompilerError.self) { try Dataset(path: "\(folder)/a.npy") }
    }
  }

  @Test func controlCharactersDoNotReachTheTerminal() throws {
    try withTemporaryFolder { folder in
      let header = "{'descr': '\u{1B}[2J', 'fortran_order': False, 'shape': (1,), }\n"
      try write(
        NumPyHeader.magic + [1, 0, UInt8(header.utf8.count), 0] + Array(header.utf8), "\(folder)/a.npy")
      let error = #expect(throws: CompilerError.self) { try Dataset(path: "\(folder)/a.npy") }
      #expect(error?.description.contains("\u{1B}") == false)
      try write("file\tclass\nx\t\u{1B}[2J\n".utf8, "\(folder)/i/labels.tsv")
      let list = #expect(throws: CompilerError.self) { try Dataset(path: "\(folder)/i") }
      #expect(list?.description.contains("\u{1B}") == false)
    }
  }

  @Test func gzipThatExpandsTooFarIsStopped() throws {
    let path = vector("zeros.gz")
    let error = #expect(throws: CompilerError.self) { try Dataset(path: path, limits: Self.limits) }
    #expect(error?.description.contains("expands to more than 4194304 bytes") == true)
    try withTemporaryFolder { folder in
      try write([0x1F, 0x8B], "\(folder)/empty.gz")
      #expect(throws: CompilerError.self) { try Dataset(path: "\(folder)/empty.gz") }
    }
  }

  @Test func speciallyNamedAndSpecialFilesAreHandled() throws {
    try withTemporaryFolder { folder in
      try FileManager.default.createSymbolicLink(atPath: "\(folder)/loop", withDestinationPath: folder)
      #expect(throws: CompilerError.self) { try Dataset(path: folder) }
      #expect(mkfifo("\(folder)/pipe.png", 0o600) == 0)
      #expect(throws: CompilerError.self) { try Dataset(path: "\(folder)/pipe.png") }
      #expect(throws: CompilerError.self) { try Dataset(path: "/dev/zero") }
      #expect(throws: CompilerError.self) { try Dataset(path: "") }
    }
  }
}

/// The real data of the project's benchmarks, where they are present.
private let dataFolder: String? = {
  let beside = URL(filePath: #filePath).appending(path: "../../../../shared/data").standardized.path
  let folder = ProcessInfo.processInfo.environment["QCC_DATA"] ?? beside
  let isThere = FileManager.default.fileExists(atPath: folder + "/cifar10/test1000.bin")
  if !isThere { print("skipped: real data sets (set QCC_DATA)") }
  return isThere ? folder : nil
}()

@Suite(.enabled(if: dataFolder != nil)) struct RealData {
  @Test(
    arguments: [
      ("cifar10/test1000.bin", 1000, [nil, 3, 32, 32]),
      ("mnist/t10k-images-idx3-ubyte.gz", 10000, [1, 1, 28, 28]),
      ("fashion-mnist/heldout10k-images-idx3-ubyte.gz", 10000, [nil, 1, 28, 28]),
    ] as [(String, Int, [Int?])])
  func realFilesHaveBalancedLabels(path: String, count: Int, shape: [Int?]) throws {
    let folder = try #require(dataFolder)
    let data = try PreparedDataset(
      try Dataset(path: "\(folder)/\(path)"), inputShape: shape, preprocessing: Preprocessing(), samples: 500,
      seed: 1)
    #expect(data.dataset.count == count)
    var classes = [Int](repeating: 0, count: 10)
    let loader = BatchLoader(data, threads: 2)
    while let batch = try loader.next(64) {
      for label in batch.labels { classes[try #require(label)] += 1 }
    }
    #expect(classes.reduce(0, +) == 500 && classes.allSatisfy { $0 > 25 }, "\(classes)")
  }
}
