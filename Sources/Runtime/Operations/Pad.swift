import Program

/// How the image that a convolution reads lies in the scratch memory.
struct ScratchImage {
  let pixelBytes: Int
  let rowBytes: Int
}

/// Copies an image into the scratch memory, with a border of its zero point; as bytes, or as words for kernels that read
/// words.
struct PadStep: StepWork {
  let input: Plane
  let zeroPoint: UInt8
  let top: Int
  let left: Int
  let paddedHeight: Int
  let paddedWidth: Int
  let toWords: Bool

  init(_ window: Instruction.Window, _ tensor: Program.Tensor, toWords: Bool) {
    self.toWords = toWords
    input = Plane(tensor)
    zeroPoint = tensor.zeroPoint
    top = window.padTop
    left = window.padLeft
    paddedHeight = window.paddedHeight(tensor)
    paddedWidth = window.paddedWidth(tensor)
  }

  private var pixelBytes: Int { (toWords ? 2 : 1) * input.storedChannels }
  private var rowBytes: Int { paddedWidth * pixelBytes }
  var byteCount: Int { paddedHeight * rowBytes }
  var units: Int { paddedHeight }
  var image: ScratchImage { ScratchImage(pixelBytes: pixelBytes, rowBytes: rowBytes) }

  func run(_ memory: WorkingMemory, part _: Int, _ range: Range<Int>) {
    if toWords { return runToWords(memory, range) }
    let pixelBytes = input.storedChannels
    for row in range {
      let target = memory.image + row &* rowBytes
      guard row >= top, row < top &+ input.height else {
        target.update(repeating: zeroPoint, count: rowBytes)
        continue
      }
      let source = UnsafePointer(memory.arena + (input.offset &+ (row &- top) &* input.rowStride))
      let image = target + left &* pixelBytes
      target.update(repeating: zeroPoint, count: left &* pixelBytes)
      if input.pixelStride == pixelBytes {
        image.update(from: source, count: input.width &* pixelBytes)
      } else {
        for column in 0..<input.width {
          (image + column &* pixelBytes).update(from: source + column &* input.pixelStride, count: pixelBytes)
        }
      }
      let right = paddedWidth &- left &- input.width
      (image + input.width &* pixelBytes).update(repeating: zeroPoint, count: right &* pixelBytes)
    }
  }

  private func runToWords(_ memory: WorkingMemory, _ range: Range<Int>) {
    let channels = input.storedChannels, zero = UInt16(zeroPoint)
    for row in range {
      let target = UnsafeMutableRawPointer(memory.image + row &* rowBytes).assumingMemoryBound(
        to: UInt16.self)
      guard row >= top, row < top &+ input.height else {
        target.update(repeating: zero, count: paddedWidth &* channels)
        continue
      }
      let source = UnsafePointer(memory.arena + (input.offset &+ (row &- top) &* input.rowStride))
      let image = target + left &* channels
      target.update(repeating: zero, count: left &* channels)
      if input.pixelStride == channels {
        for i in 0..<input.width &* channels { image[i] = UInt16(source[i]) }
      } else {
        for column in 0..<input.width {
          let pixel = source + column &* input.pixelStride
          for channel in 0..<channels { image[column &* channels &+ channel] = UInt16(pixel[channel]) }
        }
      }
      let right = paddedWidth &- left &- input.width
      (image + input.width &* channels).update(repeating: zero, count: right &* channels)
    }
  }
}
