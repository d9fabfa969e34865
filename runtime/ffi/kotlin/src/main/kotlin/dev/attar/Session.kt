package dev.attar

/** What a head says of one pair. */
public class Score internal constructor(
    /** The head. */
    public val head: Head,
    /** A probability for each label of the head. */
    public val probabilities: FloatArray,
    /** The head's outputs before temperature and soft-max. */
    public val logits: FloatArray,
    /** How many windows the pair was split into because it was too long; 1 if it was not. */
    public val windows: Int,
) {
    /** The most probable label. */
    public val label: String
        get() = head.labels[probabilities.indices.maxBy { probabilities[it] }]

    /** The probability of a label; [NoSuchElementException] if the head has none of this name. */
    public operator fun get(label: String): Float {
        val index = head.labels.indexOf(label)
        if (index < 0) throw NoSuchElementException("no label \"$label\"; the head has ${head.labels}")
        return probabilities[index]
    }

    override fun toString(): String = "$label ${probabilities.asList()}"
}

/**
 * Scores pairs of texts. Safe to use from several threads, whose calls then wait for each other: for parallel work use a session for
 * each thread, or one with several threads.
 */
public class Session internal constructor(private val model: Model, address: Long) :
    Handle(address, Native::sessionFree) {
    /**
     * Scores pairs with the head of that name: premise and hypothesis for `nli` and `rte`, question and passage for `relevance`.
     * An empty text is an [AttarException] with [Status.INPUT].
     */
    public fun score(head: String, pairs: List<Pair<String, String>>): List<Score> {
        val known = model.head(head)
        val labels = known.labels.size
        val probabilities = FloatArray(pairs.size * labels)
        val logits = FloatArray(pairs.size * labels)
        val windows = IntArray(pairs.size)
        val first = Array(pairs.size) { pairs[it].first }
        val second = Array(pairs.size) { pairs[it].second }
        call { Native.sessionScore(it, head, first, second, probabilities, logits, windows) }
        return pairs.indices.map {
            val from = it * labels
            val to = from + labels
            Score(known, probabilities.copyOfRange(from, to), logits.copyOfRange(from, to), windows[it])
        }
    }

    /** The probability, for each passage, that it answers the question. */
    public fun relevance(question: String, passages: List<String>): FloatArray {
        val relevance = FloatArray(passages.size)
        call { Native.sessionRelevance(it, question, passages.toTypedArray(), relevance) }
        return relevance
    }
}
