import CTurboJPEG
import Support

/// Decodes a baseline or progressive JPEG with the accurate integer transform and smooth chroma upsampling, as Pillow
/// does. Orientation tags are not applied (Pillow's `Image.open` and torchvision do not either).
func decodeJPEG(_ bytes: [UInt8], file: String, limits: DataLimits) throws(CompilerError) -> Image {
  guard let decoder = tjInitDecompress() else {
    throw dataError("no memory for a JPEG decoder", file: file)
  }
  defer { tjDestroy(decoder) }
  func failure() -> CompilerError {
    dataError("is not a readable JPEG: \(String(cString: tjGetErrorStr2(decoder)))", file: file)
  }

  var width: Int32 = 0
  var height: Int32 = 0
  var subsampling: Int32 = 0
  var colorSpace: Int32 = 0
  guard
    tjDecompressHeader3(decoder, bytes, UInt(bytes.count), &width, &height, &subsampling, &colorSpace) == 0
  else { throw failure() }
  let area = try pixelCount(width: Int(width), height: Int(height), file: file, limits: limits)

  let isGray = colorSpace == TJCS_GRAY.rawValue
  let isPrint = colorSpace == TJCS_CMYK.rawValue || colorSpace == TJCS_YCCK.rawValue
  let format = isGray ? TJPF_GRAY : isPrint ? TJPF_CMYK : TJPF_RGB
  let channels = isGray ? 1 : isPrint ? 4 : 3
  var status: Int32 = 0
  var pixels = [UInt8](unsafeUninitializedCapacity: area * channels) { buffer, initialized in
    buffer.initialize(repeating: 0)  // damaged files leave rows out
    status = tjDecompress2(
      decoder, bytes, UInt(bytes.count), buffer.baseAddress, width, 0, height, format.rawValue,
      TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS)
    initialized = area * channels
  }
  if status != 0 {
    // Warnings are about bytes that do not matter, except when rows are missing.
    let message = String(cString: tjGetErrorStr2(decoder))
    guard tjGetErrorCode(decoder) == TJERR_WARNING.rawValue, !message.contains("Premature end of JPEG file")
    else {
      throw failure()
    }
  }
  if isPrint { pixels = redGreenBlue(invertedInks: pixels) }
  return Image(
    width: Int(width), height: Int(height), channels: isGray ? 1 : 3, values: .bytes(pixels))
}

/// Adobe's JPEGs hold 255 − ink for cyan, magenta, yellow and black; ink on ink multiplies.
private func redGreenBlue(invertedInks pixels: [UInt8]) -> [UInt8] {
  var result: [UInt8] = []
  result.reserveCapacity(pixels.count / 4 * 3)
  for start in stride(from: 0, to: pixels.count, by: 4) {
    let black = Int(pixels[start + 3])
    for channel in 0..<3 {
      result.append(UInt8((Int(pixels[start + channel]) * black + 127) / 255))
    }
  }
  return result
}

/// `width * height`, when it is within the limits.
func pixelCount(width: Int, height: Int, file: String, limits: DataLimits) throws(CompilerError) -> Int {
  guard width > 0, height > 0 else { throw dataError("has no pixels", file: file) }
  let (area, overflow) = width.multipliedReportingOverflow(by: height)
  guard !overflow, area <= limits.imagePixels else {
    throw dataError("has \(width) x \(height) pixels; at most \(limits.imagePixels) are decoded", file: file)
  }
  return area
}
