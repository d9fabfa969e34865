package dev.attar

import java.util.concurrent.locks.ReentrantReadWriteLock
import kotlin.concurrent.read
import kotlin.concurrent.write

/**
 * Something native that must be closed, best with [use]. Closing waits for calls in progress on other threads; closing twice is fine,
 * and any other call afterwards throws [IllegalStateException].
 */
public abstract class Handle internal constructor(
    private var address: Long,
    private val free: (Long) -> Unit,
) : AutoCloseable {
    private val lock = ReentrantReadWriteLock()

    internal fun <T> call(body: (Long) -> T): T = lock.read {
        check(address != 0L) { "${javaClass.simpleName} is closed" }
        body(address)
    }

    /** Gives the native memory back. */
    final override fun close() {
        lock.write {
            val last = address
            address = 0L
            if (last != 0L) free(last)
        }
    }
}
