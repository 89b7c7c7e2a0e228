"""One kind of layer a file: patients' gradients of its parameters from what went in and the gradient that came back."""
