// swift-tools-version: 6.2
import PackageDescription

// Fuzz targets (libFuzzer with the address sanitizer) for everything that reads files. A package of its own, since
// all code must be instrumented; the sources are links into the package itself, and the shared package name
// (-package-name) opens its `package` declarations. Run through scripts/fuzz.
let instrumented: [SwiftSetting] = [.unsafeFlags(["-sanitize=fuzzer,address", "-parse-as-library"])]
let instrumentedC: [CSetting] = [.unsafeFlags(["-fsanitize=fuzzer-no-link,address"])]
let linked: [LinkerSetting] = [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]

let package = Package(
  name: "fuzz",
  targets: [
    .systemLibrary(name: "CProtobufC", pkgConfig: "libprotobuf-c", providers: [.apt(["libprotobuf-c-dev"])]),
    .target(name: "CXXHash", cSettings: instrumentedC),
    .target(name: "COnnxProto", dependencies: ["CProtobufC"], cSettings: instrumentedC),
    .target(
      name: "COnnxCheck",
      cxxSettings: [.define("ONNX_NAMESPACE", to: "onnx"), .define("ONNX_ML", to: "1")],
      linkerSettings: [.linkedLibrary("onnx"), .linkedLibrary("onnx_proto"), .linkedLibrary("protobuf")]),
    .target(name: "Support", swiftSettings: instrumented),
    .target(name: "Numerics", swiftSettings: instrumented),
    .target(name: "IR", dependencies: ["Support", "Numerics", "CXXHash"], swiftSettings: instrumented),
    .target(
      name: "Importer", dependencies: ["Support", "IR", "COnnxProto", "CProtobufC", "COnnxCheck"],
      swiftSettings: instrumented),
    .executableTarget(
      name: "FuzzOnnx", dependencies: ["Importer", "Support"], swiftSettings: instrumented, linkerSettings: linked),
  ],
  cxxLanguageStandard: .cxx17
)
