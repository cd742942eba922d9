import Support

/// Image files: a folder per class, a list with labels, or just a folder.
struct ImageFolder: Sendable {
  let root: String
  /// Relative to `root`.
  private(set) var files: [(path: String, label: Int?)]
  /// The folder names, in the order of the class indices; empty when labels come from a list or are absent.
  private(set) var classNames: [String] = []
  /// What the user should know about how the folder was understood.
  private(set) var notes: [String] = []

  init(_ root: String, labels labelPath: String?, limits: DataLimits) throws(CompilerError) {
    self.root = root
    self.files = []
    let entries = try names(in: root)
    let folders = entries.filter { PathKind(join(root, $0)) == .folder }
    let labelPath =
      labelPath
      ?? ImageFolder.findLabels(root, entries, hasImages: entries.contains(where: ImageFormat.accepts))
    if let labelPath {
      try readList(labelPath)
    } else if !folders.isEmpty {
      try readClasses(folders, limits)
      let strays = entries.count { ImageFormat.accepts(name: $0) }
      if strays > 0 {
        notes.append("\(strays) images beside the class folders of \(root) have no class and are not used")
      }
    } else {
      files = entries.filter(ImageFormat.accepts).map { ($0, nil) }
    }
    guard !files.isEmpty else {
      throw dataError(
        "holds no .png, .jpg or .jpeg files", file: root,
        notes: [
          "expected one folder of images per class, or images with a labels.tsv (file name, tab, class index; header line)",
          "an archive must be unpacked first, for example: tar xf images.tar",
        ])
    }
  }

  func image(at index: Int, limits: DataLimits) throws(CompilerError) -> Image {
    try readImage(join(root, files[index].path), limits: limits)
  }

  /// A `labels.tsv` in the folder, or beside a folder that holds nothing but images.
  private static func findLabels(_ root: String, _ entries: [String], hasImages: Bool) -> String? {
    if entries.contains("labels.tsv") { return join(root, "labels.tsv") }
    let beside = join(root, "../labels.tsv")
    return hasImages && PathKind(beside) == .file ? beside : nil
  }

  private mutating func readList(_ labelPath: String) throws(CompilerError) {
    let table = try LabelTable(path: labelPath)
    for entry in table.entries where PathKind(join(root, entry.file)) == .file {
      files.append((entry.file, entry.label))
    }
    guard !files.isEmpty else {
      throw dataError(
        "names no file that is in \(root)", file: labelPath,
        notes: [
          "file names are relative to that folder; the first one listed is '\(printable(table.entries[0].file))'"
        ])
    }
    let absent = table.entries.count - files.count
    if absent > 0 {
      notes.append("\(absent) of the \(table.entries.count) files in \(labelPath) are not in \(root)")
    }
    let listed = Set(files.map(\.path))
    let unlisted = try names(in: root).count { ImageFormat.accepts(name: $0) && !listed.contains($0) }
    if unlisted > 0 { notes.append("\(unlisted) images in \(root) are not in \(labelPath) and are not used") }
    files.sort { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
  }

  private mutating func readClasses(_ folders: [String], _ limits: DataLimits) throws(CompilerError) {
    var empty: [String] = []
    for (index, name) in folders.enumerated() {
      let before = files.count
      try collect(name, label: index, depth: 1, limits)
      if files.count == before { empty.append(name) }
    }
    classNames = folders
    if !empty.isEmpty && !files.isEmpty {
      notes.append("class folders without images: \(empty.prefix(8).map(printable).joined(separator: ", "))")
    }
    let numbers = folders.compactMap { Int($0) }
    if numbers.count == folders.count, numbers != numbers.sorted() {
      notes.append(
        "the class folders of \(root) are numbers, but classes are counted in the order of their names "
          + "(\(folders.prefix(3).joined(separator: ", ")), …): pad the names with zeros if they are meant as class indices"
      )
    }
  }

  private mutating func collect(
    _ path: String, label: Int, depth: Int, _ limits: DataLimits
  ) throws(CompilerError) {
    guard depth <= limits.folderDepth else {
      throw dataError("has folders more than \(limits.folderDepth) levels deep", file: root)
    }
    for name in try names(in: join(root, path)) {
      let child = path + "/" + name
      if ImageFormat.accepts(name: name) {
        files.append((child, label))
        guard files.count <= limits.files else {
          throw dataError("holds more than \(limits.files) images", file: root)
        }
      } else if PathKind(join(root, child)) == .folder {
        try collect(child, label: label, depth: depth + 1, limits)
      }
    }
  }
}
