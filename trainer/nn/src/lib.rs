//! Differentiable operators, encoders and optimisers for distilling on the CPU and the GPU, on candle.
