"""Operating a deployed stack: `./ops VERB --stack production`, on the real account and on a kept rehearsal alike."""
