package dev.attar

/** What kind of failure it was; the names and numbers of `attar.h`. */
public enum class Status(public val code: Int) {
    /** An argument is out of range. */
    ARGUMENT(1),

    /** A text is not Unicode. */
    UTF8(2),

    /** There is no such file, folder or head. */
    NOT_FOUND(3),

    /** A file could not be read or written. */
    IO(4),

    /** The bytes are no Attar bundle, or a damaged one. */
    MODEL(5),

    /** The bundle or library was written by a newer version. */
    VERSION(6),

    /** A text that nothing can be said about: an empty one, a question without words, a document that is no text. */
    INPUT(7),

    /** An array has the wrong length. */
    BUFFER(8),

    /** The file is no Attar library, or a damaged one. */
    LIBRARY(9),

    /** Another process is writing to the library. */
    BUSY(10),

    /** This build, or this processor, cannot do it. */
    UNAVAILABLE(11),

    /** Something failed that should not have. */
    INTERNAL(12),

    /** A panic was caught; please report it. */
    PANIC(13),
}

/** A call that failed: its [status], and in [message] what was expected, what was got and what to do. */
public class AttarException(public val status: Status, message: String) : RuntimeException(message) {
    /** What the native side calls. */
    @Suppress("unused")
    internal constructor(code: Int, message: String) :
        this(Status.entries.firstOrNull { it.code == code } ?: Status.INTERNAL, message)
}
