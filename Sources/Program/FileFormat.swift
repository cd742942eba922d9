/// The `.qpk` file, version 1.3. All numbers are little-endian, all sections aligned, gaps are zero.
///
///     byte  0  magic "QPK1"        u16 major      u16 minor      u32 flags (0)     u32 section count
///     byte 16  u64 file size       u64 header hash               u64 arena bytes   zeros to byte 64
///     byte 64  section table: {id[4], u32 flags (bit 0: critical), u64 offset, u64 length, u32 alignment,
///              u32 0, u64 hash}
///
/// Hashes are XXH3-64; the header's is over header and table with its own field zero. A reader skips sections
/// that it does not know unless they are critical, and refuses another major version. A newer minor version
/// only adds.
///
///     META  flat JSON object of strings: producer, target, preprocessing, source hash, seed, options
///     PROG  u32 instructions, u32 numbers, u32 name bytes, u32 0; records of 64 bytes; i32 numbers (loops of
///           copies); names, each u16 length and UTF-8
///     TENS  u32 tensors, u32 0; records of 56 bytes; the last four are the border's sides, with layout 2 (since 1.2)
///     DATA  weights (aligned to 64), biases, multipliers, shifts, tables (aligned to 4)
///     CDAT  in the place of DATA: the same with weights in as many bits as they have (`CompactData`, since 1.3)
///     GOLD  u32 vectors, then for each its inputs (u32 count, bytes, zeros to 4) and outputs (u32 count,
///           f32s)
///     REPT  text: what the compiler measured
///     TUNE  text: which kernels were found fastest, on which processors (since 1.1)
package enum FileFormat {
  package static let magic: [UInt8] = [0x51, 0x50, 0x4B, 0x31]
  package static let majorVersion: UInt16 = 1
  package static let minorVersion: UInt16 = 3
  static let headerBytes = 64
  static let sectionEntryBytes = 40
  static let maximumSections = 64
  static let instructionBytes = 64
  static let tensorBytes = 56
  /// The layout of a record of a channels-last tensor with a border; older readers refuse it.
  static let borderedLayout: UInt8 = 2
  static let alignment = 64
  static let hashOffset = 24

  /// Tags of instruction records.
  enum Opcode: UInt8 {
    case quantize = 1
    case dequantize = 2
    case convolution = 3
    case add = 4
    case multiply = 5
    case averagePool = 6
    case maxPool = 7
    case lookup = 8
    case copy = 9
    case softmax = 10
    case floatProduct = 11
  }
}

/// Four characters that name a section.
package struct SectionID: Hashable, Sendable {
  package var rawValue: UInt32

  package init(rawValue: UInt32) {
    self.rawValue = rawValue
  }
  private init(_ a: Unicode.Scalar, _ b: Unicode.Scalar, _ c: Unicode.Scalar, _ d: Unicode.Scalar) {
    rawValue = a.value | b.value << 8 | c.value << 16 | d.value << 24
  }

  package static let metadata = SectionID("M", "E", "T", "A")
  package static let instructions = SectionID("P", "R", "O", "G")
  package static let tensors = SectionID("T", "E", "N", "S")
  package static let data = SectionID("D", "A", "T", "A")
  package static let compactData = SectionID("C", "D", "A", "T")
  package static let golden = SectionID("G", "O", "L", "D")
  package static let report = SectionID("R", "E", "P", "T")
  package static let tuning = SectionID("T", "U", "N", "E")
}

#if !hasFeature(Embedded)
  extension SectionID: CustomStringConvertible {
    package var description: String {
      let bytes = (0..<4).map { UInt8(truncatingIfNeeded: rawValue >> (8 * UInt32($0))) }
      guard bytes.allSatisfy({ (33...126).contains($0) }) else { return "0x\(String(rawValue, radix: 16))" }
      return String(decoding: bytes, as: UTF8.self)
    }
  }
#endif
