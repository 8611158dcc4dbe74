"""How far the scores of drawn digits vary with the seed of the noise, for one trained model."""

from common import digit_scores, table, trained

if __name__ == "__main__":
    model = trained("schedule-linear-DDIM", "generation", "schedule=ddim", "sampler=sm-n")
    scores = [digit_scores(model.sample(1797, steps=10, seed=seed)) for seed in range(5)]
    table(["seed", "FD", "IS"], [[seed, *score.values()] for seed, score in enumerate(scores)])
