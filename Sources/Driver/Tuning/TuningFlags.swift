import ArgumentParser
import KernelInterface
import Program
import Runtime

/// For commands that run programs.
struct TuningFlags: ParsableArguments {
  @Flag(name: .customLong("no-tuning"), help: "Ignore what 'qcc bench --tune' stored.") var isOff = false

  func tuning(of program: Program, _ features: CPUFeatures) -> Tuning {
    isOff ? .none : TuningCache.tuning(of: program, features: features)
  }
}
