import Support

/// A numbered set of samples on disk, in any of the formats that are read. Opening reads headers and lists, not pixels;
/// samples can be read from several threads.
package struct Dataset: Sendable {
  package let path: String
  package let count: Int
  /// Whether samples have class indices.
  package let hasLabels: Bool
  /// The names of the classes where the format has them, by class index.
  package let classNames: [String]
  /// What the user should know about how the data were understood.
  package let notes: [String]
  private let storage: Storage
  private let limits: DataLimits

  private enum Storage: Sendable {
    case folder(ImageFolder)
    case images([String])
    case arrays(ArrayDataset)
    case idx(IDXImages, labels: [Int]?)
    case cifar(CIFARImages)
  }

  /// Opens a file or folder; the format follows from its contents. `labels` names a list or array of class indices
  /// where the data hold none.
  package init(path: String, labels: String? = nil, limits: DataLimits = .standard) throws(CompilerError) {
    self.path = path
    self.limits = limits
    let opened: Opened
    switch PathKind(path) {
    case .absent: throw dataError("does not exist", file: path, status: .missingInput)
    case .folder: opened = try Dataset.openFolder(path, labels, limits)
    case .file: opened = try Dataset.openFile(path, labels, limits)
    }
    storage = opened.storage
    var names: [String] = []
    var notes = opened.notes
    switch opened.storage {
    case .folder(let folder):
      (count, hasLabels, names) = (folder.files.count, folder.files[0].label != nil, folder.classNames)
      notes += folder.notes
    case .images(let paths): (count, hasLabels) = (paths.count, false)
    case .arrays(let arrays): (count, hasLabels) = (arrays.count, arrays.hasLabels)
    case .idx(let images, let labels): (count, hasLabels) = (images.count, labels != nil)
    case .cifar(let images):
      (count, hasLabels) = (images.count, true)
      names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    }
    guard count > 0 else { throw dataError("holds no samples", file: path) }
    self.classNames = names
    self.notes = notes
  }

  /// Whether samples are arrays of numbers rather than pictures.
  package var holdsArrays: Bool {
    switch storage {
    case .arrays(let arrays): !arrays.holdsImages
    case .folder, .images, .idx, .cifar: false
    }
  }

  /// - Requires: 0 <= index < count.
  package func sample(at index: Int) throws(CompilerError) -> Sample {
    switch storage {
    case .folder(let folder):
      return Sample(
        content: .image(try folder.image(at: index, limits: limits)), label: folder.files[index].label)
    case .images(let paths): return Sample(content: .image(try readImage(paths[index], limits: limits)))
    case .arrays(let arrays): return try arrays.sample(at: index)
    case .idx(let images, let labels):
      return Sample(content: .image(try images.image(at: index)), label: labels?[index])
    case .cifar(let images):
      let (image, label) = try images.image(at: index)
      return Sample(content: .image(image), label: label)
    }
  }

  /// The file of a sample, or the data's path and its number.
  package func name(of index: Int) -> String {
    switch storage {
    case .folder(let folder): join(folder.root, folder.files[index].path)
    case .images(let paths): paths[index]
    case .arrays, .idx, .cifar: "\(path)[\(index)]"
    }
  }

  private typealias Opened = (storage: Storage, notes: [String])

  private static func openFile(
    _ path: String, _ labels: String?, _ limits: DataLimits
  ) throws(CompilerError) -> Opened {
    let source = try ByteSource(path: path, limits: limits)
    let start = try source.prefix(16)
    if start.starts(with: NumPyHeader.magic) {
      return (.arrays(try ArrayDataset(npy: path, labels: labels, limits: limits)), [])
    }
    if start.starts(with: [0x50, 0x4B, 0x03, 0x04]) {
      return (.arrays(try ArrayDataset(npz: path, labels: labels, limits: limits)), [])
    }
    if start.count >= 4, start[0] == 0, start[1] == 0, start[2] >= 8, (1...4).contains(start[3]) {
      return try openIDX(path, source, labels, limits)
    }
    if ImageFormat(start) != nil { return (.images([path]), []) }
    if source.count > 0, source.count % CIFARImages.recordSize == 0, case .file = source {
      try refuseLabels(labels, "CIFAR-10 files hold their labels")
      return (.cifar(try CIFARImages([path])), [])
    }
    throw dataError(
      "is in no format that is read", file: path,
      notes: [
        "read are: folders of PNG and JPEG images, .npy, .npz, IDX (also .gz), CIFAR-10 binary",
        "an archive must be unpacked first, for example: tar xf images.tar",
      ])
  }

  private static func openFolder(
    _ path: String, _ labels: String?, _ limits: DataLimits
  ) throws(CompilerError) -> Opened {
    let entries = try names(in: path)
    let idx = entries.filter { $0.contains("-images") && $0.contains("idx3-ubyte") }
    if !idx.isEmpty {
      let file = try onlyOne(idx, in: path)
      return try openIDX(file, try ByteSource(path: file, limits: limits), labels, limits)
    }
    let batches = entries.filter { $0.hasSuffix(".bin") }
    if !batches.isEmpty {
      try refuseLabels(labels, "CIFAR-10 files hold their labels")
      // The five training files are one set; any others are chosen by name.
      let isTraining = batches.allSatisfy { $0.hasPrefix("data_batch_") }
      let files = isTraining ? batches.map { join(path, $0) } : [try onlyOne(batches, in: path)]
      return (.cifar(try CIFARImages(files)), [])
    }
    return (.folder(try ImageFolder(path, labels: labels, limits: limits)), [])
  }

  private static func openIDX(
    _ path: String, _ source: ByteSource, _ labels: String?, _ limits: DataLimits
  ) throws(CompilerError) -> Opened {
    let images = try IDXImages(source, limits: limits)
    guard let labelPath = labels ?? idxLabels(beside: path) else {
      return (.idx(images, labels: nil), ["no labels beside \(path): it is used without"])
    }
    let values = try readIDXLabels(labelPath, limits: limits)
    guard values.count == images.count else {
      throw dataError("holds \(values.count) labels for \(images.count) images in \(path)", file: labelPath)
    }
    return (.idx(images, labels: values), [])
  }

  /// `train-images-idx3-ubyte.gz` → `train-labels-idx1-ubyte.gz`, or the same without `.gz`, or with it.
  private static func idxLabels(beside path: String) -> String? {
    let name = fileName(path)
    guard let range = name.firstRange(of: "images") else { return nil }
    let renamed = name.replacing("images", with: "labels", subrange: range).replacing("idx3", with: "idx1")
    let plain = renamed.hasSuffix(".gz") ? String(renamed.dropLast(3)) : renamed
    return [renamed, plain, plain + ".gz"].map { join(folder(of: path), $0) }.first { PathKind($0) == .file }
  }

  private static func onlyOne(_ names: [String], in path: String) throws(CompilerError) -> String {
    guard names.count == 1 else {
      throw dataError(
        "holds several sets of images: \(names.prefix(12).map(printable).joined(separator: ", "))",
        file: path,
        notes: ["name one, for example: --data \(join(path, printable(names[0])))"])
    }
    return join(path, names[0])
  }

  private static func refuseLabels(_ labels: String?, _ reason: String) throws(CompilerError) {
    if let labels { throw dataError("labels cannot be given here: \(reason)", file: labels) }
  }
}
