import CAttar
import Foundation

/// What a model can judge: `relevance`, `nli`, ... with its labels, in the order of the probabilities.
public struct Head: Equatable, Sendable {
    public let name: String
    public let labels: [String]
}

/// A student, read-only and shared by its sessions.
///
///     let model = try Model(path: "student.attar")
///     let session = try model.session()
///     let relevance = try session.relevance(of: ["Use a 3 A supply."], to: "How much current does the board need?")
public final class Model: @unchecked Sendable {
    // Never changes after initialisation, and the C library allows calls from any thread.
    let handle: OpaquePointer

    /// The heads of the model.
    public let heads: [Head]

    private init(handle: OpaquePointer) {
        self.handle = handle
        heads = (0..<attar_model_head_count(handle)).map { head in
            let labels = (0..<attar_model_label_count(handle, head)).map { label in
                String(cString: attar_model_label(handle, head, label))
            }
            return Head(name: String(cString: attar_model_head(handle, head)), labels: labels)
        }
    }

    private static func open(
        verify: Bool,
        _ body: (UnsafePointer<attar_model_options>, UnsafeMutablePointer<OpaquePointer?>) -> attar_status
    ) throws -> OpaquePointer {
        var options = attar_model_options()
        options.struct_size = MemoryLayout<attar_model_options>.size
        options.verify = verify ? 1 : 0
        var handle: OpaquePointer?
        try check(body(&options, &handle))
        return handle!
    }

    /// Maps a bundle; with `verify` every checksum is checked, which reads the whole file.
    public convenience init(path: String, verify: Bool = false) throws {
        self.init(handle: try Model.open(verify: verify) { attar_model_open(path, $0, $1) })
    }

    /// Opens a bundle in memory, such as `Data(contentsOf: url, options: .alwaysMapped)`, without copying it.
    public convenience init(data: Data, verify: Bool = false) throws {
        // The C library keeps the bytes for as long as any session needs them, and then releases this box.
        let bytes = data as NSData
        let box = Unmanaged.passRetained(bytes)
        do {
            self.init(
                handle: try Model.open(verify: verify) {
                    attar_model_from_memory(
                        bytes.bytes, bytes.length,
                        { Unmanaged<NSData>.fromOpaque($0!).release() },
                        box.toOpaque(), $0, $1)
                })
        } catch {
            box.release()
            throw error
        }
    }

    /// The bundle that is compiled into the C library.
    public static func compiledIn(verify: Bool = false) throws -> Model {
        Model(handle: try open(verify: verify) { attar_model_default($0, $1) })
    }

    /// A session, which may outlive the model. Its calls share their pairs among `threads`; results do not depend on it.
    public func session(threads: Int = 1) throws -> Session {
        try Session(model: self, threads: threads)
    }

    deinit {
        var last: OpaquePointer? = handle
        attar_model_destroy(&last)
    }
}
