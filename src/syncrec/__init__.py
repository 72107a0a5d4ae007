"""One sequential recommender for all services of a company, without any service losing by it."""
