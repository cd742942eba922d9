/// The weights of a program in as many bits as they have: section CDAT, in the place of DATA.
///
/// Kernels read weights in lanes of 8, 4 or 2 bits. A layer whose weights have 3, 5, 6 or 7 leaves part of every lane unused;
/// a compact file leaves it out, and readers put it back, so that a program computes the same and its file is smaller. It costs
/// a copy when the program is opened: other files are used where they are mapped.
///
///     u32 bytes of DATA   u32 regions
///     regions, in order and apart: u32 offset, u32 bytes, u8 bits of a lane, u8 bits kept, u8 base, u8 0
///     the bytes of DATA in order; those of a region as one stream of bits, the least significant first, of
///     `(lane - base) mod 2^bits of a lane`, filled up to whole bytes
enum CompactData {
  struct Region: Hashable {
    var slice: DataSlice
    var laneBits: Int
    var keptBits: Int
    /// The lane that is kept as 0.
    var base: UInt8

    static let recordBytes = 12
    var keptBytes: Int { (slice.count * 8 / laneBits * keptBits + 7) / 8 }
  }
  static let headerBytes = 8

  /// The section's contents as DATA.
  /// - Throws: when the section is not what the writer writes. What it gives is at most 8 times as large as the section.
  static func expanded(_ section: ByteReader) throws(ProgramError) -> DataStorage {
    guard section.count >= headerBytes else {
      throw ProgramError("the section is too short", .section(.compactData))
    }
    let total = Int(section.uint32(0)), count = Int(section.uint32(4))
    let (records, start) = (headerBytes, headerBytes + count * Region.recordBytes)
    guard start <= section.count else {
      throw ProgramError("the regions lead out of the section", .section(.compactData))
    }
    var regions: [Region] = [], end = 0, kept = start
    regions.reserveCapacity(count)
    for index in 0..<count {
      let region = try region(section, at: records + index * Region.recordBytes)
      guard region.slice.offset >= end, region.slice.count <= total - region.slice.offset else {
        throw ProgramError("the regions overlap or lead out of the data", .section(.compactData))
      }
      kept += region.slice.offset - end + region.keptBytes
      end = region.slice.offset + region.slice.count
      regions.append(region)
    }
    guard end <= total, kept + (total - end) == section.count else {
      throw ProgramError("the regions do not give the length", .section(.compactData))
    }
    return DataStorage(count: total) { expand(section.bytes, from: start, regions, to: $0) }
  }

  private static func region(_ section: ByteReader, at offset: Int) throws(ProgramError) -> Region {
    let region = Region(
      slice: DataSlice(offset: Int(section.uint32(offset)), count: Int(section.uint32(offset + 4))),
      laneBits: Int(section.uint8(offset + 8)), keptBits: Int(section.uint8(offset + 9)),
      base: section.uint8(offset + 10))
    let lane = region.laneBits
    guard lane == 8 || lane == 4 || lane == 2, region.keptBits >= 1, region.keptBits < lane else {
      throw ProgramError("a region has lanes of other bits than the writer's", section.place(offset))
    }
    return region
  }

  /// - Requires: the regions were checked.
  private static func expand(
    _ source: UnsafeRawBufferPointer, from start: Int, _ regions: [Region],
    to target: UnsafeMutableRawBufferPointer
  ) {
    var read = start, written = 0
    func copy(to end: Int) {
      let part = UnsafeMutableRawBufferPointer(rebasing: target[written..<end])
      part.copyMemory(from: UnsafeRawBufferPointer(rebasing: source[read..<read + part.count]))
      read += part.count
      written = end
    }
    for region in regions {
      copy(to: region.slice.offset)
      let kept = UnsafeRawBufferPointer(rebasing: source[read..<read + region.keptBytes])
      let lane = UInt64(region.laneBits), laneMask = 1 << lane - 1 as UInt64
      let width = UInt64(region.keptBits), mask = 1 << width - 1 as UInt64, base = UInt64(region.base)
      var position = 0, bits: UInt64 = 0, available: UInt64 = 0
      for index in region.slice.offset..<region.slice.offset + region.slice.count {
        var byte: UInt64 = 0, shift: UInt64 = 0
        while shift < 8 {
          if available < width {
            bits |= UInt64(kept[position]) << available
            position += 1
            available += 8
          }
          byte |= (((bits & mask) &+ base) & laneMask) << shift
          bits >>= width
          available -= width
          shift += lane
        }
        target[index] = UInt8(truncatingIfNeeded: byte)
      }
      read += region.keptBytes
      written = region.slice.offset + region.slice.count
    }
    copy(to: target.count)
  }
}

extension Instruction.Convolution.Kind {
  /// Bits of the lanes that weights lie in; nil where these hold no numbers of their own.
  package var laneBits: Int? {
    switch self {
    case .dense8, .depthwise: 8
    case .dense4: 4
    case .dense2: 2
    case .palette, .binary, .ternary: nil
    }
  }
}

#if !hasFeature(Embedded)
  extension Program {
    /// Bytes that `data` takes in the file.
    package var storedDataBytes: Int { isCompact ? compactData.count : data.count }

    /// The contents of CDAT.
    var compactData: [UInt8] {
      let regions = compactRegions
      var writer = ByteWriter()
      writer.append(UInt32(data.count))
      writer.append(UInt32(regions.count))
      for region in regions {
        writer.append(UInt32(region.slice.offset))
        writer.append(UInt32(region.slice.count))
        writer.bytes += [UInt8(region.laneBits), UInt8(region.keptBits), region.base, 0]
      }
      var end = 0
      for region in regions {
        writer.bytes += data.bytes[end..<region.slice.offset]
        writer.bytes += kept(region)
        end = region.slice.offset + region.slice.count
      }
      writer.bytes += data.bytes[end...]
      return writer.bytes
    }

    /// Where lanes are wider than their contents, in order and apart.
    private var compactRegions: [CompactData.Region] {
      var weights: [(slice: DataSlice, laneBits: Int)] = []
      for instruction in instructions {
        switch instruction.operation {
        case .convolution(let o): if let lane = o.kind.laneBits { weights.append((o.weights, lane)) }
        case .floatProduct(let o): if let lane = o.kind.laneBits { weights.append((o.weights, lane)) }
        default: break
        }
      }
      weights.sort { ($0.slice.offset, $0.slice.count) < ($1.slice.offset, $1.slice.count) }
      var regions: [CompactData.Region] = [], end = 0
      for (slice, lane) in weights where slice.offset >= end {
        let (base, bits) = span(of: lanes(of: slice, lane), lane)
        let region = CompactData.Region(slice: slice, laneBits: lane, keptBits: bits, base: base)
        guard bits < lane, region.keptBytes + CompactData.Region.recordBytes < slice.count else { continue }
        regions.append(region)
        end = slice.offset + slice.count
      }
      return regions
    }

    private func lanes(of slice: DataSlice, _ bits: Int) -> [UInt8] {
      data[slice].flatMap { byte in
        stride(from: 0, to: 8, by: bits).map { byte >> $0 & UInt8(truncatingIfNeeded: 1 << bits - 1) }
      }
    }

    /// The shortest run of numbers modulo `2^laneBits` that holds all lanes, whether these are signed or have an offset: where it
    /// starts, and the bits that count through it.
    private func span(of lanes: [UInt8], _ laneBits: Int) -> (base: UInt8, bits: Int) {
      let modulus = 1 << laneBits
      let used = Set(lanes).sorted().map { Int($0) }
      guard let first = used.first else { return (0, 1) }
      var base = first, longest = 0
      for (number, next) in zip(used, used.dropFirst() + [first + modulus]) where next - number > longest {
        (base, longest) = (next % modulus, next - number)
      }
      let values = modulus - longest + 1
      return (UInt8(base), max(Int.bitWidth - (values - 1).leadingZeroBitCount, 1))
    }

    private func kept(_ region: CompactData.Region) -> [UInt8] {
      let laneMask = 1 << UInt64(region.laneBits) - 1 as UInt64
      var bytes: [UInt8] = [], bits: UInt64 = 0, count = 0
      bytes.reserveCapacity(region.keptBytes)
      for lane in lanes(of: region.slice, region.laneBits) {
        bits |= ((UInt64(lane) &- UInt64(region.base)) & laneMask) << UInt64(count)
        count += region.keptBits
        while count >= 8 {
          bytes.append(UInt8(truncatingIfNeeded: bits))
          bits >>= 8
          count -= 8
        }
      }
      if count > 0 { bytes.append(UInt8(truncatingIfNeeded: bits)) }
      return bytes
    }
  }
#endif
