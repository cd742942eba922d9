import Foundation
import IR
import Support
import Testing

@testable import Importer

@Suite("Tensors of every encoding")
struct TensorTests {
  private func read(_ proto: Proto) throws(CompilerError) -> OnnxTensor {
    try proto.bytes.withUnsafeBufferPointer { (buffer) throws(CompilerError) in
      try OnnxReader.tensor(UnsafeRawBufferPointer(buffer), location: "t")
    }
  }
  private func constant(_ proto: Proto) throws -> Constant {
    try #require(try read(proto).constant(named: "t"))
  }

  @Test func floats() throws {
    let raw = try constant(Proto.tensor("t", [2]) { $0.data(9, [0, 0, 128, 63, 0, 0, 32, 192]) })
    #expect(raw.floats == [1, -2.5])
    let unpacked = try constant(
      Proto.tensor("t", [2]) {
        $0.float(4, 1)
        $0.float(4, -2.5)
      })
    #expect(unpacked.floats == [1, -2.5])
    let packed = try constant(Proto.tensor("t", [2]) { $0.data(4, [0, 0, 128, 63, 0, 0, 32, 192]) })
    #expect(packed.floats == [1, -2.5])
  }

  @Test func narrowFloatsWiden() throws {
    // 1, -2, 65504 and the smallest subnormal.
    let half = try constant(
      Proto.tensor("t", type: 10, [4]) { $0.data(9, [0x00, 0x3C, 0x00, 0xC0, 0xFF, 0x7B, 0x01, 0x00]) })
    #expect(half.floats == [1, -2, 65504, 5.960_464_5e-8])
    let listed = try constant(
      Proto.tensor("t", type: 10, [2]) {
        $0.int(5, 0x3C00)
        $0.int(5, 0xC000)
      })
    #expect(listed.floats == [1, -2])
    let brain = try constant(Proto.tensor("t", type: 16, [2]) { $0.data(9, [0x80, 0x3F, 0x49, 0x40]) })
    #expect(brain.floats == [1, 3.140625])
    let double = try constant(Proto.tensor("t", type: 11, [1]) { $0.data(10, [0, 0, 0, 0, 0, 0, 4, 0xC0]) })
    #expect(double.floats == [-2.5])
  }

  @Test func integers() throws {
    let long = try constant(
      Proto.tensor("t", type: 7, [2]) {
        $0.int(7, -1)
        $0.int(7, 1 << 40)
      })
    #expect(long.integers == [-1, 1 << 40])
    let int = try constant(Proto.tensor("t", type: 6, []) { $0.int(5, -7) })
    #expect(int.integers == [-7] && int.type == TensorType([], .i32))
    let byte = try constant(
      Proto.tensor("t", type: 2, [2]) {
        $0.int(5, 200)
        $0.int(5, 3)
      })
    #expect(byte.integers == [200, 3] && byte.type.element == .u8)
    let short = try constant(Proto.tensor("t", type: 5, [1]) { $0.data(9, [0xFE, 0xFF]) })
    #expect(short.integers == [-2] && short.type.element == .i32)
    let unsigned = try constant(Proto.tensor("t", type: 12, [1]) { $0.int(11, 4_000_000_000) })
    #expect(unsigned.integers == [4_000_000_000])
    let tooLarge = try read(Proto.tensor("t", type: 13, [1]) { $0.int(11, -1) })
    #expect(tooLarge.constant(named: "t") == nil)
    let flag = try constant(Proto.tensor("t", type: 9, [3]) { $0.data(9, [0, 1, 7]) })
    #expect(flag.integers == [0, 1, 1] && flag.type.element == .bool)
  }

  @Test func packedIntegersUnpack() throws {
    let signed = try constant(Proto.tensor("t", type: 22, [3]) { $0.data(9, [0x8F, 0x07]) })
    #expect(signed.integers == [-1, -8, 7] && signed.type.element == .i8)
    let unsigned = try constant(Proto.tensor("t", type: 21, [3]) { $0.data(9, [0x8F, 0x07]) })
    #expect(unsigned.integers == [15, 8, 7])
    let two = try constant(Proto.tensor("t", type: 26, [4]) { $0.data(9, [0b11_10_01_00]) })
    #expect(two.integers == [0, 1, -2, -1])
    let listed = try constant(Proto.tensor("t", type: 22, [2]) { $0.int(5, 0x8F) })
    #expect(listed.integers == [-1, -8])
  }

  @Test func wrongSizesAreRefused() {
    for (proto, expected) in [
      (Proto.tensor("t", [3]) { $0.data(9, [0, 0, 0, 0]) }, "needs 12"),
      (Proto.tensor("t", [3]) { $0.float(4, 1) }, "3 elements"),
      (Proto.tensor("t", [-1]) { $0.data(9, []) }, "negative"),
      (Proto.tensor("t", type: 99, [1]) { $0.data(9, [0]) }, "unknown data type 99"),
      (Proto.tensor("t", type: 0, [1]) { $0.data(9, [0]) }, "unknown data type 0"),
      (Proto.tensor("t", type: 22, [3]) { $0.data(9, [0]) }, "needs 2"),
    ] {
      let error = #expect(throws: CompilerError.self) { try read(proto) }
      #expect(error?.description.contains(expected) == true, "\(String(describing: error))")
    }
  }

  // MARK: - External data

  private func model(location: String, offset: String? = nil, length: String? = nil) -> [UInt8] {
    Proto.model(
      Proto { graph in
        graph.message(
          5,
          Proto.tensor("w", [2]) { tensor in
            for (key, value) in [("location", location as String?), ("offset", offset), ("length", length)] {
              guard let value else { continue }
              tensor.message(13) {
                $0.text(1, key)
                $0.text(2, value)
              }
            }
            tensor.int(14, 1)
          })
        graph.value(12, "w", [2])
      })
  }

  @Test func externalDataIsMapped() throws {
    try TestData.withTemporaryFolder { folder in
      try FileManager.default.createDirectory(atPath: "\(folder)/sub", withIntermediateDirectories: false)
      try Data([9, 9, 9, 9, 0, 0, 128, 63, 0, 0, 32, 192]).write(
        to: URL(fileURLWithPath: "\(folder)/sub/w.bin"))
      let graph = try importBytes(model(location: "sub/w.bin", offset: "4", length: "8"), directory: folder)
        .graph
      #expect(graph.constants.map(\.floats) == [[1, -2.5]])
    }
  }

  @Test func externalDataStaysInItsFolder() throws {
    try TestData.withTemporaryFolder { outer in
      let folder = "\(outer)/model"
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
      try Data(count: 8).write(to: URL(fileURLWithPath: "\(outer)/secret"))
      try Data(count: 8).write(to: URL(fileURLWithPath: "\(folder)/w.bin"))
      try FileManager.default.createSymbolicLink(
        atPath: "\(folder)/link", withDestinationPath: "\(outer)/secret")
      try FileManager.default.createSymbolicLink(atPath: "\(folder)/up", withDestinationPath: outer)
      for (bytes, expected) in [
        (model(location: "../secret"), "leaves the folder"),
        (model(location: "\(outer)/secret"), "leaves the folder"),
        (model(location: "up/secret"), "symbolic link out"),
        (model(location: "link"), "symbolic link out"),
        (model(location: "absent"), "cannot open"),
        (model(location: "."), "symbolic link out"),
        (model(location: ""), "without a location"),
        (model(location: "w.bin", offset: "1"), "leave 'w.bin'"),
        (model(location: "w.bin", offset: "-8"), "not a size"),
        (model(location: "w.bin", offset: "9223372036854775807"), "leave 'w.bin'"),
        (model(location: "w.bin", length: "4"), "of 4 bytes"),
      ] {
        let error = importError(bytes, directory: folder)
        #expect(error?.description.contains(expected) == true, "\(expected): \(String(describing: error))")
      }
      #expect(importError(model(location: "w.bin"), directory: folder) == nil)
      #expect(importError(model(location: "w.bin"))?.description.contains("has no folder") == true)
    }
  }
}
