// swift-tools-version:5.7
import PackageDescription

let package = Package(
    name: "Attar",
    platforms: [.iOS(.v13), .macOS(.v10_15)],
    products: [.library(name: "Attar", targets: ["Attar"])],
    targets: [
        // The C library and its header. On Apple platforms replace it by an XCFramework (see examples/ios).
        .systemLibrary(name: "CAttar"),
        .target(name: "Attar", dependencies: ["CAttar"]),
        .testTarget(name: "AttarTests", dependencies: ["Attar"]),
    ]
)
