package dev.attar

import java.nio.ByteBuffer

/** The version of the native library. */
public val attarVersion: String
    get() = Native.version()

/** What a model can judge: `relevance`, `nli`, ... with the names of its labels, in the order of the probabilities. */
public data class Head(val name: String, val labels: List<String>)

/**
 * A student, read-only and safe to share between threads.
 *
 * ```
 * Model.open("student.attar").use { model ->
 *     model.session().use { session ->
 *         val relevance = session.relevance("How much current does the board need?", listOf("Use a 3 A supply."))
 *     }
 * }
 * ```
 */
public class Model private constructor(address: Long) : Handle(address, Native::modelFree) {
    /** The heads of the model. */
    public val heads: List<Head> = Native.modelHeads(address).mapIndexed { index, name ->
        Head(name, Native.modelLabels(address, index).asList())
    }

    /** The head with this name; [AttarException] if there is none. */
    public fun head(name: String): Head = heads.firstOrNull { it.name == name }
        ?: throw AttarException(Status.NOT_FOUND, "no head \"$name\"; the model has ${heads.joinToString { it.name }}")

    /** A session, which may outlive the model. Its calls share their pairs among [threads] threads; results do not depend on it. */
    public fun session(threads: Int = 1): Session = call { Session(this, Native.sessionNew(it, threads)) }

    public companion object {
        /** Maps a bundle; with [verify] every checksum is checked, which reads the whole file. */
        public fun open(path: String, verify: Boolean = false): Model = Model(Native.modelOpen(path, verify))

        /**
         * Opens a bundle in memory, from the buffer's position to its limit. A direct buffer, such as an uncompressed asset that was
         * mapped with `FileChannel.map`, is used where it is and must not change; any other is copied once.
         */
        public fun of(buffer: ByteBuffer, verify: Boolean = false): Model {
            val source = buffer.duplicate()
            if (source.isDirect) return Model(Native.modelOf(source.slice(), verify))
            val copy = ByteBuffer.allocateDirect(source.remaining())
            copy.put(source)
            copy.flip()
            return Model(Native.modelOf(copy, verify))
        }

        /** The bundle that is compiled into the native library. */
        public fun default(verify: Boolean = false): Model = Model(Native.modelDefault(verify))
    }
}
