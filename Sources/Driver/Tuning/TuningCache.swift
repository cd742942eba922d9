import Foundation
import KernelInterface
import Program
import Runtime
import Support

/// Where tunings are kept: in a file for every program and processor under $XDG_CACHE_HOME/qcc/tuning (or
/// ~/.cache/qcc/tuning), and in programs themselves. What is damaged or of another time is ignored with a warning:
/// the worst that a tuning can do is to choose a slow kernel.
enum TuningCache {
  /// The tuning of a program for what `features` allow; none when there is no valid one.
  static func tuning(of program: Program, features: CPUFeatures) -> Tuning {
    guard program.contentHash != 0 else { return .none }
    let processor = Processor(features: features)
    if let path = file(of: program, processor), FileManager.default.fileExists(atPath: path),
      let bytes = contents(path), let found = record(in: bytes, program, processor, at: path)
    {
      return found.tuning(instructions: program.instructions.count)
    }
    guard !program.tuning.isEmpty,
      let found = record(in: program.tuning, program, processor, at: "the program's section TUNE")
    else { return .none }
    return found.tuning(instructions: program.instructions.count)
  }

  /// Writes a tuning to its file.
  /// - Returns: the path.
  static func store(
    _ record: TuningRecord, of program: Program, _ processor: Processor
  )
    throws(CompilerError) -> String
  {
    guard let path = file(of: program, processor) else {
      throw CompilerError(
        "there is no place for the cache: neither XDG_CACHE_HOME nor HOME is set",
        notes: ["--in-place keeps the tuning in the program"], status: .cannotCreate)
    }
    let folder = URL(filePath: path).deletingLastPathComponent().path
    do { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) } catch {
      throw CompilerError("cannot create the folder: \(systemMessage())", at: folder, status: .cannotCreate)
    }
    try writeFile(path, record.text)
    return path
  }

  /// A program's section with one record replaced or added; records of other programs and tables are dropped.
  static func section(_ record: TuningRecord, of program: Program) -> [UInt8] {
    let others = (TuningRecord.parse(program.tuning) ?? []).filter {
      $0.processor != record.processor && $0.program == record.program && $0.kernelTable == record.kernelTable
    }
    return Array((others + [record]).map(\.text).joined().utf8)
  }

  static func file(of program: Program, _ processor: Processor) -> String? {
    let name = "\(hexadecimal(program.contentHash))-\(hexadecimal(Processor.hash(processor.identity))).tuning"
    // Relative paths are to be ignored, says the XDG specification.
    if let cache = environment("XDG_CACHE_HOME"), cache.hasPrefix("/") {
      return "\(cache)/qcc/tuning/\(name)"
    }
    return environment("HOME").map { "\($0)/.cache/qcc/tuning/\(name)" }
  }

  private static func contents(_ path: String) -> [UInt8]? {
    do throws(CompilerError) {
      let file = try MappedFile(path: path)
      return withExtendedLifetime(file) { Array(file.bytes.prefix(TuningRecord.largestText + 1)) }
    } catch {
      warn("the tuning cannot be read", path)
      return nil
    }
  }

  /// The record for a processor; nil, with a warning unless there is simply none.
  private static func record(
    in bytes: [UInt8], _ program: Program, _ processor: Processor, at place: String
  ) -> TuningRecord? {
    guard let records = TuningRecord.parse(bytes) else {
      warn("the tuning is damaged and ignored", place)
      return nil
    }
    guard let record = records.first(where: { $0.processor == processor.identity }) else { return nil }
    guard record.program == program.contentHash, record.kernelTable == Processor.kernelTableHash else {
      warn("the tuning is of another program or another version of qcc, and ignored", place)
      return nil
    }
    return record
  }

  private static func warn(_ message: String, _ place: String) {
    Console.report(.warning(message, at: place, notes: ["'qcc bench --tune' measures again"]))
  }
}
