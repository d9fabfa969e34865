import CAttar
import Foundation

/// A call that failed.
public struct AttarError: Error, Equatable, LocalizedError {
    /// What kind of failure it was; the numbers of `attar.h`.
    public enum Status: Int32, Sendable {
        /// An argument is out of range.
        case argument = 1
        /// A text is not UTF-8.
        case utf8 = 2
        /// There is no such file, folder or head.
        case notFound = 3
        /// A file could not be read or written.
        case io = 4
        /// The bytes are no Attar bundle, or a damaged one.
        case model = 5
        /// The bundle or library was written by a newer version.
        case version = 6
        /// A text that nothing can be said about: an empty one, a question without words, a document that is no text.
        case input = 7
        /// A buffer has the wrong length.
        case buffer = 8
        /// The file is no Attar library, or a damaged one.
        case library = 9
        /// Another process is writing to the library.
        case busy = 10
        /// This build, or this processor, cannot do it.
        case unavailable = 11
        /// Something failed that should not have.
        case `internal` = 12
        /// A panic was caught; please report it.
        case panic = 13
    }

    /// The kind of failure.
    public let status: Status
    /// What was expected, what was got, what to do.
    public let message: String

    public var errorDescription: String? { message }
}

/// Throws what the library says of a call that just failed on this thread.
func check(_ status: attar_status) throws {
    guard status != 0 else { return }
    throw AttarError(status: .init(rawValue: status) ?? .internal, message: String(cString: attar_last_error()))
}

/// The version of the C library.
public var attarVersion: String { String(cString: attar_version()) }
