import KernelInterface
import Program
import Runtime
import TestSupport
import Testing

/// Files whose checksums are right but whose contents are not: refused with a reason, or safe to run.
@Suite struct HostileProgramTests {
  @Test(arguments: 0..<8) func refusesOrRunsWithinItsMemory(seed: Int) throws {
    var random = SeededGenerator(state: UInt64(seed)), ran = 0
    for variant in 0..<6 {
      var original = try RandomProgram(seed: UInt64(100 * seed + variant), operations: 2 + variant).program
      original.isCompact = variant % 2 == 1
      let pristine = SectionedFile(original.serialize())
      for _ in 0..<250 {
        var file = pristine
        for _ in 0...Int.random(in: 0...2, using: &random) { damage(&file, &random) }
        do throws(ProgramError) {
          let program = try Program(bytes: file.bytes)
          guard program.iterationBound < 2_000_000, program.arenaBytes < 1 << 22 else { continue }
          for features in [CPUFeatures([]), .host] { runGuarded(program, features: features) }
          ran += 1
        } catch {
          #expect(!error.description.isEmpty)
        }
      }
    }
    #expect(ran > 100)
  }

  /// One byte, or one word of a record, of any section but the header.
  private func damage(_ file: inout SectionedFile, _ random: inout SeededGenerator) {
    // Records are where danger lies; weights are only numbers.
    let records = file.sections.indices.filter {
      ["PROG", "TENS"].contains(String(decoding: file.sections[$0].id, as: UTF8.self))
    }
    let section =
      Int.random(in: 0...2, using: &random) == 0
      ? Int.random(in: 0..<file.sections.count, using: &random) : records.randomElement(using: &random) ?? 0
    guard file.sections[section].bytes.count >= 4 else { return }
    let index = Int.random(in: 0..<file.sections[section].bytes.count, using: &random)
    let values: [UInt8] = [0, 1, 2, 3, 0x7F, 0x80, 0xFF, UInt8.random(in: 0...255, using: &random)]
    file.sections[section].bytes[index] = values.randomElement(using: &random) ?? 0
  }
}
