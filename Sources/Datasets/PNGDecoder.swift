import CSpng
import Support

/// Decodes any PNG to 8 bits per channel: gray stays gray, palettes become colors, transparency is dropped (as
/// Pillow's `convert("RGB")` does), 16-bit channels keep their high byte.
func decodePNG(_ bytes: [UInt8], file: String, limits: DataLimits) throws(CompilerError) -> Image {
  guard let decoder = spng_ctx_new(0) else {
    throw dataError("no memory for a PNG decoder", file: file)
  }
  defer { spng_ctx_free(decoder) }
  func check(_ status: Int32) throws(CompilerError) {
    guard status == 0 else {
      throw dataError("is not a readable PNG: \(String(cString: spng_strerror(status)))", file: file)
    }
  }

  // Ancillary chunks (profiles, texts) are not kept; bound what the library may hold of them.
  try check(spng_set_chunk_limits(decoder, 16 << 20, 32 << 20))
  return try bytes.withUnsafeBufferPointer { (source) throws(CompilerError) -> Image in
    try check(spng_set_png_buffer(decoder, source.baseAddress, source.count))
    var header = spng_ihdr()
    try check(spng_get_ihdr(decoder, &header))
    let width = Int(header.width)
    let height = Int(header.height)
    let area = try pixelCount(width: width, height: height, file: file, limits: limits)
    var size = 0
    let format = Int32(SPNG_FMT_RGB8.rawValue)
    try check(spng_decoded_image_size(decoder, format, &size))
    guard size == area * 3 else {
      throw dataError("is not a readable PNG: its size is inconsistent", file: file)
    }
    var status: Int32 = 0
    let pixels = [UInt8](unsafeUninitializedCapacity: size) { buffer, initialized in
      buffer.initialize(repeating: 0)
      status = spng_decode_image(decoder, buffer.baseAddress, size, format, 0)
      initialized = size
    }
    try check(status)
    let isGray =
      header.color_type == SPNG_COLOR_TYPE_GRAYSCALE.rawValue
      || header.color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA.rawValue
    guard isGray else { return Image(width: width, height: height, channels: 3, values: .bytes(pixels)) }
    let gray = stride(from: 0, to: size, by: 3).map { pixels[$0] }
    return Image(width: width, height: height, channels: 1, values: .bytes(gray))
  }
}
