/// ResNet-18 in PyTorch, trained and run with and without batch norm.
///
/// Standard input asks for a pass by name and the seconds to spend on it; standard output has the
/// shortest time of one pass in seconds. The first line is the version.
enum TorchResNet {
  static let script = """
    import sys, time
    import torch
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    threads, batch, size = map(int, sys.argv[1:4])
    torch.set_num_threads(threads)
    torch.manual_seed(0)

    def unit(inputs, filters, kernel, stride, normalized):
        conv = nn.Conv2d(inputs, filters, kernel, stride, kernel // 2, bias=not normalized)
        return nn.Sequential(conv, nn.BatchNorm2d(filters)) if normalized else conv

    class Block(nn.Module):
        def __init__(self, inputs, filters, stride, normalized):
            super().__init__()
            self.first = unit(inputs, filters, 3, stride, normalized)
            self.second = unit(filters, filters, 3, 1, normalized)
            changes = stride != 1 or inputs != filters
            self.shortcut = unit(inputs, filters, 1, stride, normalized) if changes else nn.Identity()

        def forward(self, x):
            y = self.second(torch.relu_(self.first(x)))
            return torch.relu_(y + self.shortcut(x))

    def network(normalized):
        layers = [unit(3, 64, 7, 2, normalized), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
        inputs = 64
        for stage in range(4):
            for block in range(2):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(Block(inputs, 64 << stage, stride, normalized))
                inputs = 64 << stage
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)]
        return nn.Sequential(*layers).to(memory_format=torch.channels_last)

    def folded(model):
        for module in model.eval().modules():
            if isinstance(module, nn.Sequential) and len(module) == 2 \\
                    and isinstance(module[1], nn.BatchNorm2d):
                module[0], module[1] = fuse_conv_bn_eval(module[0], module[1]), nn.Identity()
        return model

    images = (torch.rand(batch, 3, size, size) * 2 - 1).contiguous(
        memory_format=torch.channels_last)
    labels = torch.randint(1000, (batch,))

    def training(normalized):
        model = network(normalized).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)

        def step():
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        return step

    def inference(model):
        model.eval()

        def run():
            with torch.inference_mode():
                model(images)
        return run

    passes = {
        "training plain": training(False), "training normalized": training(True),
        "inference plain": inference(network(False)),
        "inference normalized": inference(network(True)),
        "inference folded": inference(folded(network(True)))}
    print(torch.__version__, flush=True)
    for line in sys.stdin:
        name, seconds = line.rsplit(" ", 1)
        times, end = [], time.perf_counter() + float(seconds)
        while len(times) < 2 or time.perf_counter() < end:
            start = time.perf_counter()
            passes[name]()
            times.append(time.perf_counter() - start)
        print(min(times), flush=True)
    """
}
