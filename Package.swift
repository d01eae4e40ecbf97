// swift-tools-version: 6.2
import PackageDescription

/// Settings of every Swift target: strict, so that a mistake is an error here and not a surprise in a
/// program that links us.
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

/// Added where bytes from outside are held and read: every unsafe expression is marked in the source.
let memorySafe: [SwiftSetting] = strict + [.strictMemorySafety()]

let package = Package(
  name: "convnet",
  products: [
    .library(name: "OpenBLAS", targets: ["OpenBLAS"]),
    .library(name: "ConvNet", targets: ["ConvNet"]),
    .library(name: "ConvNetReference", targets: ["ConvNetReference"]),
    .library(name: "ConvNetImages", targets: ["ConvNetImages"]),
    .executable(name: "convnet", targets: ["ConvNetTool"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0")
  ],
  targets: [
    // System libraries. Their names carry a prefix because target names must be unique among all
    // packages of a program.
    .systemLibrary(
      name: "CConvNetOpenBLAS", path: "Modules/OpenBLAS", pkgConfig: "openblas",
      providers: [.apt(["libopenblas-dev"]), .yum(["openblas-devel"])]),
    .systemLibrary(
      name: "CConvNetLAPACKE", path: "Modules/LAPACKE", pkgConfig: "lapacke",
      providers: [.apt(["liblapacke-dev"]), .yum(["lapack-devel"])]),
    .systemLibrary(
      name: "CConvNetZlib", path: "Modules/Zlib", pkgConfig: "zlib",
      providers: [.apt(["zlib1g-dev"]), .yum(["zlib-devel"])]),
    .systemLibrary(
      name: "CConvNetTurboJPEG", path: "Modules/TurboJPEG", pkgConfig: "libturbojpeg",
      providers: [.apt(["libturbojpeg0-dev"]), .yum(["turbojpeg-devel"])]),
    .systemLibrary(
      name: "CConvNetPNG", path: "Modules/PNG", pkgConfig: "libpng",
      providers: [.apt(["libpng-dev"]), .yum(["libpng-devel"])]),

    .target(name: "OpenBLAS", dependencies: ["CConvNetOpenBLAS"], swiftSettings: strict),
    .target(
      name: "ConvNetLAPACK", dependencies: ["CConvNetLAPACKE", "OpenBLAS"], swiftSettings: strict),
    .target(name: "CConvNetLoops"),
    .target(name: "CConvNetThreads"),
    .target(name: "ConvNetGraph", swiftSettings: memorySafe),
    .target(name: "ConvNetReference", dependencies: ["ConvNetGraph"], swiftSettings: strict),
    .target(
      name: "ConvNetEngine",
      dependencies: [
        "ConvNetGraph", "ConvNetLAPACK", "OpenBLAS", "CConvNetLoops", "CConvNetThreads",
      ],
      swiftSettings: strict),
    .target(
      name: "ConvNetFormats", dependencies: ["ConvNetGraph", "CConvNetZlib"],
      swiftSettings: memorySafe),
    .target(
      name: "ConvNetTraining",
      dependencies: [
        "ConvNetGraph", "ConvNetEngine", "ConvNetFormats", "ConvNetLAPACK", "OpenBLAS",
        "CConvNetLoops", "CConvNetThreads",
      ],
      swiftSettings: strict),
    .target(
      name: "ConvNetImages",
      dependencies: [
        "ConvNetGraph", "ConvNetEngine", "ConvNetFormats", "ConvNetTraining", "CConvNetLoops",
        "CConvNetTurboJPEG", "CConvNetPNG",
      ],
      swiftSettings: memorySafe),
    .target(
      name: "ConvNet",
      dependencies: [
        "ConvNetGraph", "ConvNetEngine", "ConvNetTraining", "ConvNetFormats", "OpenBLAS",
        "CConvNetLoops",
      ],
      swiftSettings: strict),
    .target(
      name: "ConvNetExperiments", dependencies: ["ConvNet", "OpenBLAS"], swiftSettings: strict),
    .executableTarget(
      name: "ConvNetTool",
      dependencies: [
        "ConvNet", "ConvNetReference", "ConvNetImages", "ConvNetExperiments", "OpenBLAS",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict),

    .target(
      name: "ConvNetTestSupport",
      dependencies: ["ConvNetGraph", "ConvNetReference", "ConvNetEngine"],
      path: "Tests/ConvNetTestSupport", swiftSettings: strict),
    .target(name: "CConvNetMallocCounter", path: "Tests/CConvNetMallocCounter"),
    .testTarget(name: "OpenBLASTests", dependencies: ["OpenBLAS"], swiftSettings: strict),
    .testTarget(name: "ConvNetLAPACKTests", dependencies: ["ConvNetLAPACK"], swiftSettings: strict),
    .testTarget(name: "CConvNetLoopsTests", dependencies: ["CConvNetLoops"], swiftSettings: strict),
    .testTarget(name: "ConvNetGraphTests", dependencies: ["ConvNetGraph"], swiftSettings: strict),
    .testTarget(
      name: "ConvNetReferenceTests", dependencies: ["ConvNetReference", "ConvNetTestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "ConvNetEngineTests",
      dependencies: [
        "ConvNetEngine", "ConvNetFormats", "ConvNetTestSupport", "CConvNetMallocCounter",
        "OpenBLAS",
      ],
      swiftSettings: strict),
    .testTarget(
      name: "ConvNetTrainingTests",
      dependencies: [
        "ConvNetTraining", "ConvNetFormats", "ConvNetReference", "ConvNetTestSupport",
      ],
      swiftSettings: strict),
    .testTarget(
      name: "ConvNetFormatsTests",
      dependencies: [
        "ConvNetFormats", "ConvNetGraph", "ConvNetReference", "ConvNetTestSupport", "CConvNetZlib",
      ],
      swiftSettings: strict),
    .testTarget(
      name: "ConvNetImagesTests", dependencies: ["ConvNetImages", "ConvNetTraining"],
      swiftSettings: strict),
    .testTarget(
      name: "ConvNetExperimentsTests", dependencies: ["ConvNetExperiments", "ConvNet"],
      swiftSettings: strict),
    .testTarget(
      name: "ConvNetToolTests",
      dependencies: ["ConvNetTool", "ConvNet", "ConvNetImages", "ConvNetReference"],
      swiftSettings: strict),
  ]
)
