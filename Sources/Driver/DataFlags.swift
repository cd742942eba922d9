import ArgumentParser
import IR
import PassKit

/// Where samples come from and how they become network inputs.
struct DataFlags: ParsableArguments {
  @Option(help: "Seed of every random choice.") var seed: UInt64 = 0

  func calibration(for graph: Graph) throws -> (any CalibrationData)? { nil }
}
