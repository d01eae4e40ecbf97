// What scripts/check-consumer builds: a program that depends on this package as others do.
import ConvNet
import OpenBLAS

let report = BLAS.bootstrap(kernel: .recommended)
let graph = try Graph(input: .image(height: 8, width: 8, channels: 1)) { x in
  x.convolution(8, kernel: 3, bias: false).batchNormalization().relu()
    .globalAveragePooling().dense(2)
}
// Two classes that a convolution can tell apart: stripes across and stripes along.
let count = 16
let pixels = (0..<count * 64).map { (i: Int) -> Float in
  let isAcross = i / 64 % 2 == 0
  return Float((isAcross ? i / 8 : i) % 2)
}
let images = Tensor(pixels, shape: [count, 8, 8, 1])
let labels = Tensor((0..<count).map { Int64($0 % 2) })

let trainer = try Trainer(
  model: Model(initializing: graph, initializer: .orthogonal(), seed: 1),
  optimizer: .sgd(SGD(learningRate: 0.1)), batchSize: count)
let first = try trainer.step(images: images, labels: labels)
var last = first
for _ in 0..<20 { last = try trainer.step(images: images, labels: labels) }
guard last < first / 2 else {
  fatalError("Training did not help: the loss went \(first), \(last).")
}

let model = trainer.model
let plan = try Plan(model, mode: .inference, inputShapes: ["input": images.shape])
var workspace = plan.makeWorkspace(for: ParameterStore(model))
try workspace.setInput("input", to: images)
plan.run(in: &workspace)
let shape = try workspace.output("output").shape
print("OpenBLAS \(report.version), \(report.core): loss \(first) -> \(last), logits \(shape)")
