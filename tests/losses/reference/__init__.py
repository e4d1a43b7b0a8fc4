"""Golden numbers from the authors' repositories: the loss and the gradient that their code gives for known inputs."""
