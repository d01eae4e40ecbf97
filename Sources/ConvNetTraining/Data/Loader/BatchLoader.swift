package import ConvNetEngine
import ConvNetGraph
import Glibc

/// Gives the images of a pass in order, batch by batch, where the network reads them.
///
/// Images in memory are prepared on the lanes when they are asked for. Those of other sources are read and
/// prepared by threads of their own while the step before computes, see `Loading`; pixels and order are
/// the same. The threads end with the loader, wherever in the pass it is.
package final class BatchLoader {
  private let assembler: BatchAssembler
  private let order: [Int]
  private let epoch: EpochKey?
  private let lanes: Lanes
  private let queue: ImageQueue?
  private let threads: [pthread_t]
  /// Images taken or left out so far.
  private var position = 0

  /// Begins a pass.
  ///
  /// - Parameters:
  ///   - assembler: prepares each image.
  ///   - order: the samples to come, so that a pass may begin anywhere in an epoch.
  ///   - batchSize: the images of a batch, as a rule.
  ///   - epoch: the pass of a training; nil where nothing is random.
  ///   - loading: how images are read ahead.
  /// - Throws: `TrainingError` where `loading` has numbers below 1.
  package init(
    _ assembler: BatchAssembler, order: some Sequence<Int>, batchSize: Int,
    epoch: EpochKey? = nil, lanes: Lanes, loading: Loading = Loading()
  ) throws {
    try loading.check()
    self.assembler = assembler
    self.order = Array(order)
    self.epoch = epoch
    self.lanes = lanes
    guard !assembler.data.isInMemory || loading.includesMemory, !self.order.isEmpty else {
      (queue, threads) = (nil, [])
      return
    }
    let queue = ImageQueue(
      assembler, order: self.order, epoch: epoch, capacity: loading.batches * batchSize)
    threads = queue.start(min(loading.threads ?? lanes.count, self.order.count))
    // Where the system refuses threads, the lanes do the work.
    self.queue = threads.isEmpty ? nil : queue
  }

  deinit { queue?.stop(threads) }

  /// Where the images come from.
  package var data: any ImageSource { assembler.data }

  /// The samples that are still to come.
  package var remaining: Int { order.count - position }

  /// Gives the next images, waiting for them where need be.
  ///
  /// Where nothing is random, samples that a source leaves out (`UnreadableSample`) are passed over: fewer
  /// images than asked for come at the end of a pass only.
  ///
  /// - Parameter output: room for so many images as are wanted.
  /// - Returns: the samples whose images came.
  /// - Throws: the error of the first image that cannot be had.
  package func next(into output: UnsafeMutableBufferPointer<Float>) throws -> [Int] {
    let imageCount = assembler.data.imageShape.count
    guard let start = output.baseAddress, imageCount > 0 else { return [] }
    let wanted = output.count / imageCount
    if queue == nil, assembler.data.isInMemory {
      let samples = order[position..<min(position + wanted, order.count)]
      let filled = UnsafeMutableBufferPointer(rebasing: output[..<(samples.count * imageCount)])
      try assembler.assemble(samples, into: filled, in: epoch, lanes: lanes)
      position = samples.endIndex
      return Array(samples)
    }
    var samples: [Int] = []
    while samples.count < wanted, position < order.count {
      let sample = order[position]
      defer { position += 1 }
      do {
        try take(sample, to: start + samples.count * imageCount)
        samples.append(sample)
      } catch is UnreadableSample where epoch == nil {
        continue
      }
    }
    return samples
  }

  /// The image at the current position.
  private func take(_ sample: Int, to output: UnsafeMutablePointer<Float>) throws {
    guard let queue else { return try assembler.assembleImage(sample, in: epoch, to: output) }
    try queue.take(position) { output.update(from: $0, count: assembler.data.imageShape.count) }
  }
}
