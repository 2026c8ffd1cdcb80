"""ResNet-18 for images of 32 x 32 pixels, in Flax NNX."""

from flax import nnx


def _conv(inputs, outputs, size, stride, rngs):
    return nnx.Conv(
        inputs, outputs, (size, size), strides=(stride, stride), padding="SAME", use_bias=False, rngs=rngs
    )


class Block(nnx.Module):
    """Two 3 x 3 convolutions with a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int, rngs: nnx.Rngs):
        self.conv1 = _conv(inputs, outputs, 3, stride, rngs)
        self.norm1 = nnx.BatchNorm(outputs, rngs=rngs)
        self.conv2 = _conv(outputs, outputs, 3, 1, rngs)
        self.norm2 = nnx.BatchNorm(outputs, rngs=rngs)
        self.projects = stride != 1 or inputs != outputs
        if self.projects:
            self.conv3 = _conv(inputs, outputs, 1, stride, rngs)
            self.norm3 = nnx.BatchNorm(outputs, rngs=rngs)

    def __call__(self, x):
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        if self.projects:
            x = self.norm3(self.conv3(x))
        return nnx.relu(x + y)


class ResNet18(nnx.Module):
    """Four stages of two blocks; `width` is the number of channels of the first stage."""

    def __init__(self, classes: int, rngs: nnx.Rngs, width: int = 64):
        self.stem = _conv(3, width, 3, 1, rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.block1a = Block(width, width, 1, rngs)
        self.block1b = Block(width, width, 1, rngs)
        self.block2a = Block(width, 2 * width, 2, rngs)
        self.block2b = Block(2 * width, 2 * width, 1, rngs)
        self.block3a = Block(2 * width, 4 * width, 2, rngs)
        self.block3b = Block(4 * width, 4 * width, 1, rngs)
        self.block4a = Block(4 * width, 8 * width, 2, rngs)
        self.block4b = Block(8 * width, 8 * width, 1, rngs)
        self.head = nnx.Linear(8 * width, classes, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.stem(x)))
        x = self.block1b(self.block1a(x))
        x = self.block2b(self.block2a(x))
        x = self.block3b(self.block3a(x))
        x = self.block4b(self.block4a(x))
        return self.head(x.mean((1, 2)))
