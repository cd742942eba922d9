import Foundation
import Support
import Testing

@testable import Datasets

/// Files beside this one, made by make-vectors.py with Pillow and NumPy.
func vector(_ name: String) -> String {
  URL(filePath: #filePath).deletingLastPathComponent().appending(path: "vectors/\(name)").path
}

func expected(_ name: String) throws -> NumericArray {
  try NumPyArray(path: vector(name + ".npy")).read()
}

/// Pixels as floats, for comparison with arrays.
func floats(_ image: Image) -> [Float] {
  switch image.values {
  case .bytes(let bytes): bytes.map(Float.init)
  case .floats(let floats): floats
  }
}

/// The largest difference of a value.
func difference(_ image: Image, _ reference: NumericArray) -> Float {
  zip(floats(image), reference.values).map { abs($0 - $1) }.max() ?? .infinity
}

/// A folder that vanishes at the end of the test.
func withTemporaryFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
  let folder = FileManager.default.temporaryDirectory.appending(path: "qcc-datasets-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  return try body(folder.path)
}

func write(_ bytes: some Sequence<UInt8>, _ path: String) throws {
  try FileManager.default.createDirectory(
    atPath: URL(filePath: path).deletingLastPathComponent().path, withIntermediateDirectories: true)
  try Data(bytes).write(to: URL(filePath: path))
}

@Suite struct ImageDecoding {
  @Test(arguments: ["color.png", "palette.png", "alpha.png", "color.jpg", "progressive.jpg", "print.jpg"])
  func colorImagesAreWhatPillowReads(name: String) throws {
    let image = try readImage(vector(name))
    let reference = try expected(name)
    #expect([image.height, image.width, image.channels] == reference.shape)
    #expect(difference(image, reference) == 0)
  }

  @Test func grayImagesStayGray() throws {
    let jpeg = try readImage(vector("gray.jpg"))
    #expect(jpeg.channels == 1)
    #expect(difference(jpeg, try expected("gray.jpg")) == 0)
    let png = try readImage(vector("gray.png"))
    let red = try readImage(vector("color.png"))
    #expect(png.channels == 1)
    #expect(floats(png) == stride(from: 0, to: floats(red).count, by: 3).map { floats(red)[$0] })
    #expect(try readImage(vector("gray16.png")) == png)
  }

  @Test(arguments: ["color.png", "color.jpg", "progressive.jpg", "gray.png"])
  func truncatedImagesAreRefusedWithTheirName(name: String) throws {
    let bytes = [UInt8](try Data(contentsOf: URL(filePath: vector(name))))
    try withTemporaryFolder { folder in
      for length in [0, 1, 7, 20, 60, bytes.count / 2, bytes.count * 3 / 4] {
        let path = "\(folder)/cut"
        try write(bytes.prefix(length), path)
        let error = #expect(throws: CompilerError.self) { try readImage(path) }
        #expect(error?.diagnostics.first?.location == path)
      }
    }
  }

  @Test func hugeImagesAreRefusedBeforeDecoding() throws {
    var limits = DataLimits()
    limits.imagePixels = 100
    for name in ["color.png", "color.jpg"] {
      let error = #expect(throws: CompilerError.self) { try readImage(vector(name), limits: limits) }
      #expect(error?.description.contains("37 x 23 pixels") == true)
    }
  }
}

@Suite struct NumPyFiles {
  @Test(arguments: ["u1", "i1", "u2", "i2", "i4", "i8", "f2", "f4", "f8"])
  func everyElementTypeIsRead(kind: String) throws {
    #expect(try expected("array-\(kind)") == NumericArray(shape: [2, 3], values: [0, 1, 2, 3, 100, 120]))
  }

  @Test func booleansAreRead() throws {
    #expect(try expected("array-b1").values == [0, 1, 1, 1, 1, 1])
  }

  @Test(arguments: [("fortran", "ascontiguousarray"), ("big-endian", "astype"), ("c8", "astype")])
  func otherLayoutsAreRefusedWithTheRemedy(name: String, remedy: String) {
    let error = #expect(throws: CompilerError.self) { try expected("array-\(name)") }
    #expect(error?.description.contains(remedy) == true)
  }

  @Test(arguments: [[], [3], [2, 2], [1, 3, 1, 1]])
  func writtenArraysAreReadBack(shape: [Int]) throws {
    let array = NumericArray(shape: shape, values: (0..<shape.reduce(1, *)).map { Float($0) * 1.25 - 1 })
    try withTemporaryFolder { folder in
      try write(array.numPyBytes, "\(folder)/a.npy")
      #expect(try NumPyArray(path: "\(folder)/a.npy").read() == array)
      #expect(array.numPyBytes.count % 64 == array.values.count * 4 % 64)
    }
  }

  @Test func archivesHoldNamedArrays() throws {
    let compressed = try readNumPyZip(vector("compressed.npz"))
    #expect(compressed.map(\.name) == ["data"])
    #expect(
      try compressed[0].array.read() == NumericArray(shape: [2, 3, 2, 2], values: (0..<24).map(Float.init)))
    let stored = try Dataset(path: vector("stored.npz"))
    #expect(stored.count == 3 && stored.hasLabels && !stored.holdsArrays)
    #expect(try (0..<3).map { try stored.sample(at: $0).label } == [2, 0, 1])
  }

  @Test func integersThatFloatsCannotHoldAreErrors() throws {
    try withTemporaryFolder { folder in
      var bytes = [UInt8](try Data(contentsOf: URL(filePath: vector("array-i8.npy"))))
      bytes.replaceSubrange(bytes.count - 8..<bytes.count, with: [1, 0, 0, 1, 0, 0, 0, 0])  // 2^24 + 1
      try write(bytes, "\(folder)/a.npy")
      #expect(throws: CompilerError.self) { try NumPyArray(path: "\(folder)/a.npy").read() }
    }
  }
}

@Suite struct DatasetFormats {
  @Test func idxImagesFindTheirLabels() throws {
    let reference = try expected("idx")
    for path in ["idx", "idx/t-images-idx3-ubyte.gz"] {
      let dataset = try Dataset(path: vector(path))
      #expect(dataset.count == 5 && dataset.hasLabels)
      for index in 0..<5 {
        let sample = try dataset.sample(at: index)
        #expect(sample.label == [3, 1, 4, 1, 5][index])
        guard case .image(let image) = sample.content else { throw CompilerError("no image") }
        #expect(image.height == 4 && image.width == 6 && image.channels == 1)
        #expect(floats(image) == Array(reference.values[index * 24..<index * 24 + 24]))
      }
    }
  }

  @Test func cifarPlanesBecomePixels() throws {
    let dataset = try Dataset(path: vector("cifar.bin"))
    let planes = try expected("cifar").values
    #expect(dataset.count == 2 && dataset.classNames[7] == "horse")
    for index in 0..<2 {
      let sample = try dataset.sample(at: index)
      guard case .image(let image) = sample.content else { throw CompilerError("no image") }
      #expect(sample.label == [7, 3][index])
      let pixels = floats(image)
      for pixel in 0..<1024 {
        for channel in 0..<3 {
          #expect(pixels[pixel * 3 + channel] == planes[index * 3072 + channel * 1024 + pixel])
        }
      }
    }
  }

  @Test func classFoldersAreCountedInTheOrderOfTheirNames() throws {
    let png = try Data(contentsOf: URL(filePath: vector("gray.png")))
    try withTemporaryFolder { folder in
      for name in [
        "dog/b.png", "dog/a.PNG", "cat/x/deep.png", "ant/.hidden.png", "cat/readme.txt", "zebra/z.jpg",
      ] {
        try write(png, "\(folder)/\(name)")
      }
      let dataset = try Dataset(path: folder)
      #expect(dataset.classNames == ["ant", "cat", "dog", "zebra"])
      let names = (0..<dataset.count).map { dataset.name(of: $0).dropFirst(folder.count + 1) }
      #expect(names == ["cat/x/deep.png", "dog/a.PNG", "dog/b.png", "zebra/z.jpg"])
      #expect(try (0..<4).map { try dataset.sample(at: $0).label } == [1, 2, 2, 3])
      #expect(dataset.notes == ["class folders without images: ant"])
    }
  }

  @Test func numberedClassFoldersAreWarnedAbout() throws {
    let png = try Data(contentsOf: URL(filePath: vector("gray.png")))
    try withTemporaryFolder { folder in
      for name in ["0", "1", "2", "10"] { try write(png, "\(folder)/\(name)/a.png") }
      #expect(try Dataset(path: folder).notes.first?.contains("pad the names with zeros") == true)
    }
  }

  @Test func listsLabelFlatFolders() throws {
    let png = try Data(contentsOf: URL(filePath: vector("gray.png")))
    try withTemporaryFolder { folder in
      for name in ["a.png", "b.png", "c.png"] { try write(png, "\(folder)/images/\(name)") }
      try write(
        "file\tclass\tname\r\nb.png\t7\tx\r\na.png\t5\nnot-there.png\t1\n".utf8, "\(folder)/labels.tsv")
      for dataset in [
        try Dataset(path: "\(folder)/images"),
        try Dataset(path: "\(folder)/images", labels: "\(folder)/labels.tsv"),
      ] {
        #expect(try (0..<dataset.count).map { try dataset.sample(at: $0).label } == [5, 7])
        #expect(dataset.notes.count == 2)
      }
      try FileManager.default.removeItem(atPath: "\(folder)/labels.tsv")
      #expect(try Dataset(path: "\(folder)/images").hasLabels == false)
    }
  }

  @Test(arguments: [
    ("a.png\t1\n", "no header line"), ("file\tclass\na.png\n", "labels.tsv:2"),
    ("file\tclass\n../a.png\t1\n", "inside the folder"),
    ("file\tclass\na.png\tdog\n", "not a class index"), ("file\tclass\na.png\t1\na.png\t2\n", "twice"),
    ("", "no tab|lists no files"),
    ("file\tclass\nq.png\t1\n", "names no file"), ("file\tclass\na.png\t-1\n", "not a class index"),
  ])
  func damagedListsAreRefused(text: String, message: String) throws {
    let png = try Data(contentsOf: URL(filePath: vector("gray.png")))
    try withTemporaryFolder { folder in
      try write(png, "\(folder)/a.png")
      try write(text.utf8, "\(folder)/labels.tsv")
      let error = #expect(throws: CompilerError.self) { try Dataset(path: folder) }
      #expect(message.split(separator: "|").contains { error?.description.contains($0) == true }, "\(error!)")
    }
  }

  @Test func foldersAndFilesOfNoUseSayWhatIsExpected() throws {
    try withTemporaryFolder { folder in
      #expect(throws: CompilerError.self) { try Dataset(path: "\(folder)/absent") }
      let empty = #expect(throws: CompilerError.self) { try Dataset(path: folder) }
      #expect(empty?.description.contains("one folder of images per class") == true)
      try write([1, 2, 3], "\(folder)/data.xyz")
      let unknown = #expect(throws: CompilerError.self) { try Dataset(path: "\(folder)/data.xyz") }
      #expect(unknown?.description.contains("read are:") == true)
      #expect(unknown?.status == .malformedInput)
      for name in ["train", "t10k"] { try write([0, 0, 8, 3], "\(folder)/\(name)-images-idx3-ubyte") }
      let several = #expect(throws: CompilerError.self) { try Dataset(path: folder) }
      #expect(several?.description.contains("holds several sets of images: t10k-images") == true)
    }
  }

  @Test func expandingStopsAtTheLimit() throws {
    var limits = DataLimits()
    limits.expandedBytes = 100
    for name in ["idx/t-images-idx3-ubyte.gz", "compressed.npz", "stored.npz"] {
      let error = #expect(throws: CompilerError.self) { try Dataset(path: vector(name), limits: limits) }
      #expect(error?.description.contains("100") == true, "\(error!)")
    }
  }
}
