// swift-tools-version: 6.2
import PackageDescription

/// Compiler code: strict language mode, warnings are errors.
let strict: [SwiftSetting] = [
  .treatAllWarnings(as: .error), .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

/// Inner-loop code that proves its own bounds: runs at full speed in debug builds too.
let unchecked: [SwiftSetting] = strict + [.unsafeFlags(["-Ounchecked"])]

/// Tensor loops that keep their checks but must not be slow in debug builds either.
let optimized: [SwiftSetting] = strict + [.unsafeFlags(["-O"])]

/// Kernels for one instruction set. The objects must hold no weak symbols, since the linker might hand
/// a copy compiled for this instruction set to code that runs everywhere (scripts/check-weak-symbols). Compiled as
/// whole modules in debug builds too, so that the last steps, in files of their own, are inlined there.
func kernels(_ flags: [String]) -> [SwiftSetting] {
  strict + [.unsafeFlags(["-Ounchecked", "-wmo", "-num-threads", "1"] + flags.flatMap { ["-Xcc", $0] })]
}

let package = Package(
  name: "qcc",
  products: [.executable(name: "qcc", targets: ["qcc"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    // System libraries and generated or header-only C.
    .systemLibrary(name: "CProtobufC", pkgConfig: "libprotobuf-c", providers: [.apt(["libprotobuf-c-dev"])]),
    .systemLibrary(name: "COneDNN", providers: [.apt(["libdnnl-dev"])]),
    .systemLibrary(name: "CTurboJPEG", pkgConfig: "libturbojpeg", providers: [.apt(["libturbojpeg0-dev"])]),
    .systemLibrary(name: "CSpng", pkgConfig: "spng", providers: [.apt(["libspng-dev"])]),
    .systemLibrary(name: "CZip", pkgConfig: "libzip", providers: [.apt(["libzip-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "COpenMPI", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev"])]),
    .systemLibrary(name: "CGLPK", providers: [.apt(["libglpk-dev"])]),
    .target(name: "CXXHash"),
    .target(name: "CInstructions"),
    .target(name: "COnnxProto", dependencies: ["CProtobufC"]),
    .target(
      name: "COnnxCheck",
      cxxSettings: [.define("ONNX_NAMESPACE", to: "onnx"), .define("ONNX_ML", to: "1")],
      linkerSettings: [.linkedLibrary("onnx"), .linkedLibrary("onnx_proto"), .linkedLibrary("protobuf")]),

    // Shared by the compiler and the runtime. Numerics, Program, the kernels and Runtime stay in the Embedded subset.
    .target(name: "Support", swiftSettings: strict),
    .target(name: "Numerics", swiftSettings: unchecked),
    .target(name: "Program", dependencies: ["Numerics", "CXXHash"], swiftSettings: strict),
    .target(name: "KernelInterface", dependencies: ["Numerics"], swiftSettings: unchecked),
    .target(
      name: "KernelsPortable", dependencies: ["KernelInterface", "Numerics"], swiftSettings: unchecked),
    .target(
      name: "KernelsAVX2", dependencies: ["KernelInterface", "CInstructions"],
      swiftSettings: kernels(["-march=haswell"])),
    // The same source as KernelsAVX2, by links.
    .target(
      name: "KernelsAVXVNNI", dependencies: ["KernelInterface", "CInstructions"],
      swiftSettings: kernels(["-march=alderlake"]) + [.define("AVX_VNNI")]),
    .target(
      name: "KernelsAVX512VNNI", dependencies: ["KernelInterface", "CInstructions"],
      swiftSettings: kernels(["-march=cascadelake", "-mprefer-vector-width=512"])),
    .target(
      name: "Runtime",
      dependencies: [
        "Program", "Numerics", "KernelInterface", "KernelsPortable", "CInstructions",
        .target(name: "KernelsAVX2", condition: .when(platforms: [.linux])),
        .target(name: "KernelsAVXVNNI", condition: .when(platforms: [.linux])),
        .target(name: "KernelsAVX512VNNI", condition: .when(platforms: [.linux])),
      ],
      swiftSettings: unchecked),

    // The compiler.
    .target(name: "IR", dependencies: ["Support", "Numerics", "CXXHash"], swiftSettings: strict),
    .target(
      name: "Importer", dependencies: ["Support", "IR", "COnnxProto", "CProtobufC", "COnnxCheck"],
      swiftSettings: strict),
    .target(name: "PassKit", dependencies: ["Support", "IR"], swiftSettings: strict),
    .target(name: "Search", dependencies: ["Support", "CGLPK"], swiftSettings: optimized),
    .target(
      name: "Datasets",
      dependencies: [
        "Support", "CTurboJPEG", "CSpng", "CZip", "CZlib", .product(name: "Yams", package: "Yams"),
      ], exclude: ["README.md"], swiftSettings: strict),
    .target(
      name: "Evaluator", dependencies: ["Support", "Numerics", "IR", "COneDNN"], swiftSettings: optimized,
      linkerSettings: [.linkedLibrary("dnnl")]),
    .target(
      name: "Training", dependencies: ["Support", "Numerics", "IR", "Evaluator", "COneDNN"],
      swiftSettings: optimized),
    .target(
      name: "Trainer",
      dependencies: ["Support", "Numerics", "IR", "Evaluator", "Training", "Datasets", "Search"],
      swiftSettings: optimized),
    .target(
      name: "Passes",
      dependencies: [
        "Support", "Numerics", "IR", "PassKit", "Evaluator", "Training", "Program", "Search",
        .product(name: "Yams", package: "Yams"),
      ],
      path: "passes", exclude: ["tests", "README.md"],
      resources: [.embedInCode("pipelines"), .embedInCode("targets"), .embedInCode("costs")],
      swiftSettings: strict),
    .target(
      name: "Explain",
      dependencies: ["Support", "Numerics", "IR", "PassKit", "Passes", "Evaluator"], swiftSettings: optimized),
    .target(
      name: "Driver",
      dependencies: [
        "Support", "Numerics", "IR", "Importer", "PassKit", "Passes", "Evaluator", "Explain", "Datasets",
        "Trainer", "Search", "Program", "Runtime",
        "KernelInterface", "CXXHash", "COpenMPI",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Yams", package: "Yams"),
      ], swiftSettings: strict),
    .executableTarget(name: "qcc", dependencies: ["Driver"], swiftSettings: strict),
    .executableTarget(
      name: "qcc-kernel-bench", dependencies: ["Runtime", "KernelInterface", "Numerics"],
      path: "Benchmarks/Kernels", swiftSettings: strict, linkerSettings: [.linkedLibrary("m")]),
    .executableTarget(
      name: "qcc-runtime-bench", dependencies: ["Runtime", "Program", "KernelInterface"],
      path: "Benchmarks/Runtime",
      swiftSettings: strict),
    .executableTarget(
      name: "qcc-search-bench", dependencies: ["Search", "Support"], path: "Benchmarks/Search",
      swiftSettings: strict),
    .executableTarget(
      name: "qcc-training-bench", dependencies: ["Training", "Evaluator", "Importer", "IR", "Support"],
      path: "Benchmarks/Training", swiftSettings: strict),

    .testTarget(
      name: "PassesTests",
      dependencies: ["Passes", "PassKit", "IR", "Support", "Importer", "Evaluator", "Numerics", "Training"],
      swiftSettings: strict),
    .testTarget(
      name: "EvaluatorTests",
      dependencies: ["Evaluator", "Importer", "IR", "Numerics", "Program", "Support"],
      swiftSettings: strict),
    .testTarget(
      name: "TrainingTests", dependencies: ["Training", "Evaluator", "IR", "Numerics", "Support"],
      swiftSettings: strict),
    .testTarget(
      name: "TrainerTests",
      dependencies: ["Trainer", "Training", "Datasets", "Evaluator", "IR", "Numerics", "Support"],
      swiftSettings: strict),
    .target(
      name: "TestSupport", dependencies: ["Program", "Runtime", "KernelInterface", "CXXHash"],
      path: "Tests/TestSupport", swiftSettings: strict),
    .target(name: "CCounters", path: "Tests/CCounters"),
    .testTarget(name: "ProgramTests", dependencies: ["Program", "TestSupport"], swiftSettings: strict),
    .testTarget(
      name: "RuntimeTests",
      dependencies: [
        "Runtime", "Program", "Numerics", "KernelInterface", "CXXHash", "TestSupport", "CCounters",
      ],
      swiftSettings: strict),
    .testTarget(
      name: "ImporterTests",
      dependencies: ["Importer", "Evaluator", "IR", "Support", "COnnxProto", "CProtobufC"],
      swiftSettings: strict),
    .testTarget(
      name: "KernelsTests", dependencies: ["Runtime", "KernelInterface", "Numerics"], swiftSettings: strict),
    .testTarget(
      name: "ExplainTests",
      dependencies: ["Explain", "Passes", "PassKit", "Evaluator", "IR", "Numerics", "Support"],
      swiftSettings: strict),
    .testTarget(name: "SearchTests", dependencies: ["Search", "Support"], swiftSettings: strict),
    .testTarget(name: "PassKitTests", dependencies: ["PassKit", "IR", "Support"], swiftSettings: strict),
    .testTarget(
      name: "DatasetsTests", dependencies: ["Datasets", "Support"], exclude: ["make-vectors.py", "vectors"],
      swiftSettings: strict),
    .testTarget(
      name: "DriverTests", dependencies: ["qcc", "Datasets", "TestSupport"], swiftSettings: strict),
    .testTarget(name: "IRTests", dependencies: ["IR", "Support", "Numerics"], swiftSettings: strict),
  ],
  cxxLanguageStandard: .cxx17
)

// Linking needs libFuzzer's flags, so this target exists for `make fuzz` alone.
if Context.environment["QCC_FUZZ"] != nil {
  package.targets.append(
    .executableTarget(
      name: "qcc-fuzz",
      dependencies: [
        "Support", "IR", "Importer", "Program", "Runtime", "KernelInterface", "Datasets", "CXXHash",
      ],
      path: "Fuzz", exclude: ["corpus", "README.md"], swiftSettings: strict))
}
