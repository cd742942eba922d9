import Foundation
import Support
import Testing

@testable import Datasets

@Suite struct Resizing {
  @Test(arguments: ResizeFilter.allCases, [(10, 16), (46, 50), (7, 90), (23, 12), (1, 1)])
  func bytesAreThoseOfPillow(filter: ResizeFilter, size: (height: Int, width: Int)) throws {
    let image = try readImage(vector("color.png")).resized(
      width: size.width, height: size.height, filter: filter)
    let reference = try expected("\(filter.rawValue)-\(size.height)x\(size.width)")
    #expect([image.height, image.width, image.channels] == reference.shape)
    #expect(difference(image, reference) == 0)
  }

  @Test(arguments: ResizeFilter.allCases)
  func floatsAreThoseOfPillow(filter: ResizeFilter) throws {
    let pixels = floats(try readImage(vector("gray.png"))).map { $0 / 7 }
    let image = Image(width: 37, height: 23, channels: 1, values: .floats(pixels))
      .resized(width: 50, height: 11, filter: filter)
    let reference = try expected("\(filter.rawValue)-float-11x50")
    #expect(difference(image, reference) < 1e-5)
  }
}

@Suite struct PreprocessingDescriptions {
  static let full = """
    color: bgr
    resize: {short_side: 40, filter: bicubic}
    crop: {center: [24, 31]}
    scale: 1/255
    mean: [0.485, 0.456, 0.406]
    std: [0.229, 0.224, 0.225]
    layout: nhwc
    """

  @Test func yamlAndFlagsAndCanonicalTextSayTheSame() throws {
    let parsed = try Preprocessing(yaml: Self.full, file: "p.yaml")
    #expect(parsed.resize == .shortSide(40, .bicubic))
    #expect(parsed.scale == 1.0 / 255)
    #expect(try Preprocessing(yaml: parsed.canonicalText, file: "text") == parsed)
    var flags = Preprocessing()
    for (key, value) in [
      ("color", "bgr"), ("resize", "{short_side: 40, filter: bicubic}"), ("crop", "{center: [24, 31]}"),
      ("scale", "1/255"),
      ("mean", "0.485,0.456,0.406"), ("std", "[0.229, 0.224, 0.225]"), ("layout", "nhwc"),
    ] { try flags.set(key, to: value) }
    #expect(flags == parsed)
    #expect(
      parsed.canonicalText.hasPrefix(
        #"{"color": "bgr", "resize": {"short_side": 40, "filter": "bicubic"}, "crop": {"center": [24, 31]}, "scale": 0.00"#
      ))
    #expect(try Preprocessing(yaml: "", file: "p.yaml").isEmpty)
    #expect(Preprocessing().canonicalText == "{}")
  }

  @Test(arguments: [
    ("colour: rgb", "known keys: color, resize"), ("color: cmyk", "rgb, bgr, gray"), ("scale: 0", "erase"),
    ("\nscale: fast", "p.yaml:2"), ("mean: [1, 2]", "one per channel"), ("std: [1, 0, 1]", "not above 0"),
    ("std: -1", "not above 0"), ("resize: 3", "short_side"), ("resize: {size: [0, 2]}", "pixels"),
    ("resize: {size: [3, 4], short_side: 2}", "resize is"),
    ("resize: {size: [3, 99999999999999999999]}", "pixels"),
    ("resize: {sizes: [3, 4]}", "unknown key 'sizes'"), ("crop: [3, 4]", "center"),
    ("crop: {center: [3]}", "[height, width]"),
    ("- a", "mapping"), ("a: [", "YAML"), ("scale: .nan", "number"), ("scale: 1e300", "finite"),
    ("scale: 1/0", "number"),
    ("scale: 1\nscale: 2", ""), ("layout: hwc", "nchw, nhwc"),
    (String(repeating: "[", count: 9999), "nested"),
    (String(repeating: "- ", count: 9999), "nested"), ("*a", "YAML"), ("a: &a [*a]", ""),
  ])
  func mistakesAreExplained(text: String, message: String) {
    let error = #expect(throws: CompilerError.self) { try Preprocessing(yaml: text, file: "p.yaml") }
    #expect(message.isEmpty || error?.description.contains(message) == true, "\(error!)")
    #expect(error?.description.hasPrefix("p.yaml") == true)
  }

  @Test func whatIsLeftOutFollowsFromTheNetwork() throws {
    let (gray, notes) = try Preprocessing().completed(for: [nil, 1, 28, 28])
    #expect(
      gray.color == .gray && gray.layout == .nchw && gray.scale == 1 && gray.mean == [0] && gray.std == [1])
    #expect(notes.count == 1 && notes[0].contains("color gray"))
    #expect(try Preprocessing().completed(for: [1, 224, 224, 3]).preprocessing.layout == .nhwc)
    #expect(try Preprocessing().completed(for: [1, 3, 224, 224]).preprocessing.color == .rgb)
    #expect(try gray.completed(for: [1, 1, 28, 28]).notes.isEmpty)
    #expect(throws: CompilerError.self) { try gray.completed(for: [1, 3, 28, 28]) }
    #expect(throws: CompilerError.self) { try Preprocessing().completed(for: [1, 8, 28, 28]) }
    #expect(throws: CompilerError.self) { try Preprocessing().completed(for: [nil]) }
  }
}

@Suite struct Preparing {
  /// Written out independently: pixel (y, x) of the source image is what the value comes from.
  @Test func stepsAreAppliedInOrder() throws {
    var steps = Preprocessing()
    steps.color = .bgr
    steps.crop = .init(height: 20, width: 30)  // top 1.5 → 2 (half to even), left 3.5 → 4
    steps.scale = 1.0 / 255
    steps.mean = [0.1, 0.2, 0.3]
    steps.std = [0.5, 0.25, 2]
    let source = try readImage(vector("color.png"))
    let pixels = floats(source)
    for layout in Preprocessing.Layout.allCases {
      steps.layout = layout
      let shape: [Int?] = layout == .nchw ? [nil, 3, 20, 30] : [nil, 20, 30, 3]
      let values = try Preparation(try steps.completed(for: shape).preprocessing, inputShape: shape).prepare(
        source)
      for y in 0..<20 {
        for x in 0..<30 {
          for c in 0..<3 {
            let pixel = Double(pixels[((y + 2) * 37 + x + 4) * 3 + 2 - c])
            let value = Float((pixel / 255 - [0.1, 0.2, 0.3][c]) / [0.5, 0.25, 2][c])
            let place = layout == .nchw ? (c * 20 + y) * 30 + x : (y * 30 + x) * 3 + c
            #expect(abs(values[place] - value) <= 2 * value.ulp.magnitude)
          }
        }
      }
    }
  }

  @Test func grayIsPillowsLuma() throws {
    let shape: [Int?] = [1, 1, 23, 37]
    let preparation = Preparation(try Preprocessing().completed(for: shape).preprocessing, inputShape: shape)
    #expect(try preparation.prepare(try readImage(vector("color.png"))) == (try expected("luma").values))
  }

  @Test func wrongSizesNameBothAndTheRemedy() throws {
    let data = try PreparedDataset(
      try Dataset(path: vector("color.png")), inputShape: [nil, 3, 32, 32], preprocessing: Preprocessing())
    let error = #expect(throws: CompilerError.self) { try data.sample(0) }
    #expect(error?.description.contains("[3, 23, 37]") == true)
    #expect(error?.description.contains("resize: {size: [32, 32]}") == true)
    #expect(error?.diagnostics.first?.location.hasSuffix("color.png") == true)
    var steps = Preprocessing()
    steps.resize = .size(height: 32, width: 32, .bilinear)
    let resized = try PreparedDataset(
      try Dataset(path: vector("color.png")), inputShape: [nil, 3, 32, 32], preprocessing: steps)
    #expect(try resized.sample(0).values.count == 3072)
  }

  @Test func floatArraysAreUsedAsTheyAreUnlessPreprocessingIsGiven() throws {
    let dataset = try Dataset(path: vector("compressed.npz"))
    let plain = try PreparedDataset(dataset, inputShape: [nil, 3, 2, 2], preprocessing: Preprocessing())
    #expect(try plain.sample(1).values == (12..<24).map(Float.init))
    #expect(plain.preprocessing == nil && plain.notes.isEmpty)
    var steps = Preprocessing()
    steps.scale = 2
    let scaled = try PreparedDataset(dataset, inputShape: [nil, 3, 2, 2], preprocessing: steps)
    #expect(try scaled.sample(1).values == (12..<24).map { Float($0 * 2) })
    let wrong = try PreparedDataset(dataset, inputShape: [nil, 4, 2, 2], preprocessing: Preprocessing())
    #expect(throws: CompilerError.self) { try wrong.sample(0) }
  }
}

@Suite struct Loading {
  @Test func selectionIsSeededSortedAndUniform() {
    #expect(selectSamples(count: 5, wanted: nil, seed: 1) == [0, 1, 2, 3, 4])
    #expect(selectSamples(count: 5, wanted: 9, seed: 1) == [0, 1, 2, 3, 4])
    #expect(
      selectSamples(count: 1000, wanted: 10, seed: 7) == selectSamples(count: 1000, wanted: 10, seed: 7))
    #expect(
      selectSamples(count: 1000, wanted: 10, seed: 7) != selectSamples(count: 1000, wanted: 10, seed: 8))
    var hits = [Int](repeating: 0, count: 10)
    for seed in 0..<4000 {
      let chosen = selectSamples(count: 10, wanted: 3, seed: UInt64(seed))
      #expect(chosen.count == 3 && chosen == Set(chosen).sorted())
      for index in chosen { hits[index] += 1 }
    }
    // 1200 expected, standard deviation 29.
    #expect(hits.allSatisfy { abs($0 - 1200) < 150 }, "\(hits)")
  }

  @Test func shufflingKeepsTheChoiceAndMixesItsOrder() {
    let chosen = selectSamples(count: 1000, wanted: 400, seed: 3)
    let order = shuffledSamples(count: 1000, wanted: 400, seed: 3)
    #expect(order.sorted() == chosen)
    #expect(order == shuffledSamples(count: 1000, wanted: 400, seed: 3))
    #expect(order != shuffledSamples(count: 1000, wanted: 400, seed: 4))
    // Of a dataset sorted by class the first and the last eighth hold all of it: 25 expected from either half.
    for part in [order.prefix(50), order.suffix(50)] {
      #expect((10...40).contains(part.count { $0 < 500 }), "\(part)")
    }
    #expect(shuffledSamples(count: 3, wanted: nil, seed: 1).sorted() == [0, 1, 2])
  }

  @Test func randomNumbersAreThoseOfThePublishedGenerator() {
    // First outputs of SplitMix64 for seed 1234567, as published with the algorithm.
    var random = SeededRandom(seed: 1_234_567)
    #expect(random.next() == 6_457_827_717_110_365_317)
    #expect(random.next() == 3_203_168_211_198_807_973)
  }

  @Test(arguments: [1, 2, 5])
  func batchesComeInOrderWithAnyNumberOfThreads(threads: Int) throws {
    try withTemporaryFolder { folder in
      let values = (0..<103).map { Float($0) }
      try write(NumericArray(shape: [103, 1], values: values).numPyBytes, "\(folder)/x.npy")
      let data = try PreparedDataset(
        try Dataset(path: "\(folder)/x.npy"), inputShape: [nil, 1], preprocessing: Preprocessing(),
        samples: 50, seed: 3)
      let loader = BatchLoader(data, threads: threads, window: 7)
      var seen: [Float] = []
      while let batch = try loader.next(8) {
        #expect(batch.count == 8 || seen.count + batch.count == 50)
        seen += batch.inputs.joined()
      }
      #expect(seen == data.indices.map(Float.init))
      #expect(loader.unreadable.isEmpty)
    }
  }

  @Test func damagedFilesAreLeftOutAndNamed() throws {
    let png = try Data(contentsOf: URL(filePath: vector("gray.png")))
    try withTemporaryFolder { folder in
      for index in 0..<9 { try write(index % 4 == 2 ? png.prefix(40) : png, "\(folder)/\(index).png") }
      let data = try PreparedDataset(
        try Dataset(path: folder), inputShape: [nil, 1, 23, 37], preprocessing: Preprocessing())
      let loader = BatchLoader(data, threads: 2)
      var positions: [Int] = []
      while let batch = try loader.next(4) { positions += batch.positions }
      #expect(positions == [0, 1, 3, 4, 5, 7, 8])
      #expect(loader.unreadable.map(\.location) == ["\(folder)/2.png", "\(folder)/6.png"])
      let abandoned = BatchLoader(data, threads: 2, window: 2)
      _ = try abandoned.next(1)
    }
  }

  @Test func oneReadableFileAtLeastIsNeeded() throws {
    try withTemporaryFolder { folder in
      for index in 0..<3 { try write([0x89, 0x50], "\(folder)/\(index).png") }
      let data = try PreparedDataset(
        try Dataset(path: folder), inputShape: [nil, 1, 23, 37], preprocessing: Preprocessing())
      let loader = BatchLoader(data, threads: 2)
      #expect(throws: CompilerError.self) { try loader.next(4) }
    }
  }
}
