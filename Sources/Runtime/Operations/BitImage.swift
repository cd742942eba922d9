import KernelInterface
import Program

/// Writes the bits of an image into the scratch memory, plane by plane within a pixel, with a border of the zero
/// point's bits.
struct BitImageStep: StepWork {
  let input: Plane
  let planes: Int
  let zeroPoint: UInt8
  let top: Int
  let left: Int
  let paddedHeight: Int
  let paddedWidth: Int
  /// Words of a plane of a pixel.
  private let words: Int
  private let kernel: @Sendable (BitImageArguments) -> Void

  init(
    _ window: Instruction.Window, _ tensor: Program.Tensor, _ kind: Instruction.Convolution.Kind,
    features: CPUFeatures
  ) {
    input = Plane(tensor)
    planes = Int(tensor.bits)
    zeroPoint = tensor.zeroPoint
    top = window.padTop
    left = window.padLeft
    paddedHeight = window.paddedHeight(tensor)
    paddedWidth = window.paddedWidth(tensor)
    words = kind.imagePixelBytes(tensor) / 4 / planes
    kernel = KernelTable.selectBitImage(features).function
  }

  var image: ScratchImage { ScratchImage(pixelBytes: 4 * pixelWords, rowBytes: 4 * pixelWords * paddedWidth) }
  var byteCount: Int { paddedHeight * image.rowBytes }
  var units: Int { paddedHeight }
  private var pixelWords: Int { planes * words }

  func run(_ memory: WorkingMemory, part _: Int, _ range: Range<Int>) {
    let rowWords = paddedWidth &* pixelWords
    let image = UnsafeMutableRawPointer(memory.image).assumingMemoryBound(to: UInt32.self)
    for row in range {
      let target = image + row &* rowWords
      guard row >= top, row < top &+ input.height else {
        fill(target, pixels: paddedWidth)
        continue
      }
      fill(target, pixels: left)
      let first = target + left &* pixelWords
      kernel(
        BitImageArguments(
          source: UnsafePointer(memory.arena + (input.offset &+ (row &- top) &* input.rowStride)),
          sourceStride: input.pixelStride, pixels: input.width, channels: input.channels, planes: planes,
          target: first))
      fill(first + input.width &* pixelWords, pixels: paddedWidth &- left &- input.width)
    }
  }

  /// Pixels of the border.
  private func fill(_ target: UnsafeMutablePointer<UInt32>, pixels: Int) {
    for pixel in 0..<pixels {
      for plane in 0..<planes {
        let isSet = (zeroPoint &>> UInt8(plane)) & 1 != 0
        for word in 0..<words {
          let channels = min(32, input.channels &- 32 &* word)
          let all: UInt32 = channels == 32 ? ~0 : (1 &<< UInt32(channels)) &- 1
          target[(pixel &* planes &+ plane) &* words &+ word] = isSet ? all : 0
        }
      }
    }
  }
}
